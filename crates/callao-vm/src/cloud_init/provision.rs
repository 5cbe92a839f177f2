//! The provision scripts and data files as files of the seed, in the order of the template and with Lima's names
//! (`provision.system.00000003`, where Lima has directories). It must not know who runs them.

use callao_template::machine::{Machine, Provision};

use super::Document;

/// One file for each entry. The number is that of the entry, so that a message can name it.
pub(super) fn documents(machine: &Machine) -> impl Iterator<Item = Document> {
    machine.provision.iter().enumerate().map(|(number, entry)| {
        let (mode, text) = match entry {
            Provision::System { script } => ("system", script),
            Provision::User { script } => ("user", script),
            Provision::Boot { script } => ("boot", script),
            Provision::Dependency { script, .. } => ("dependency", script),
            Provision::Data { content, .. } => ("data", content),
        };
        Document::new(format!("provision.{mode}.{number:08}"), text.as_str())
    })
}
