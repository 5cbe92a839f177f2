//! `callao delete`: removes instances. What is in the cache stays.

use callao_vm::requests::Request;

use super::{ask, instances, stop, trust};
use crate::app::App;
use crate::cli::DeleteArgs;
use crate::error::CommandError;

pub(crate) fn run(app: &App, args: &DeleteArgs) -> Result<(), CommandError> {
    let instances = instances(app)?;
    let mut failed = None;
    for name in &args.names {
        let ended = match instances.find(name) {
            Err(callao_vm::Error::NotFound { .. }) if args.force => {
                app.output.info(format!("There is no instance `{name}`"));
                Ok(())
            }
            Err(error) => Err(error.into()),
            Ok(instance) => delete(app, instance, args.force),
        };
        // The others are removed all the same.
        if let Err(error) = ended
            && let Some(earlier) = failed.replace(error)
        {
            app.output.error(&earlier);
        }
    }
    failed.map_or(Ok(()), Err)
}

fn delete(
    app: &App,
    instance: callao_vm::instance::Instance,
    force: bool,
) -> Result<(), CommandError> {
    let request = match force {
        true => Request::DeleteForced,
        false => Request::Delete,
    };
    ask(&instance, request)?;
    stop::end_at_once(app, &instance)?;
    let name = instance.name().to_string();
    let lock = instance.lock()?;
    let links = instance.places().links();
    trust::kept(app, &links, || instance.delete(lock))?;
    app.output.info(format!("Instance `{name}` is deleted"));
    Ok(())
}
