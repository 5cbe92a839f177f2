//! The flags of `callao explain`.

use clap::Args;

use super::{SourceArgs, TemplateArgs};

const EXPLAIN_AFTER_HELP: &str = "\
Says for each file what is here, whether it can be trusted, whom `callao get`
would ask, what each of them answers now, and how the last fetches went. Nothing
is fetched but one byte, or one block, from each; nothing is changed.

Exit code 0 when every file is here or somebody has it, 3 otherwise.

Examples:
  callao explain template.yaml
  callao explain https://host/a.img --digest sha256:... --json
  callao explain bafy... --gateway https://gateway.example";

/// `callao explain`.
#[derive(Debug, Clone, Default, Args)]
#[command(after_help = EXPLAIN_AFTER_HELP)]
pub struct ExplainArgs {
    /// Template, URL, ipfs:// address, CID or path, as for `get`
    #[arg(value_name = "WHAT")]
    pub what: Vec<String>,
    /// Which files of a template.
    #[command(flatten)]
    pub template: TemplateArgs,
    /// Digest that the file must have, as sha256:HEX (or sha384, sha512)
    #[arg(long, value_name = "DIGEST", help_heading = "What it must be")]
    pub digest: Option<String>,
    /// CID that the file must have
    #[arg(long, value_name = "CID", help_heading = "What it must be")]
    pub cid: Option<String>,
    /// Further URLs of the same bytes (not for templates)
    #[arg(long, value_name = "URL", num_args = 1.., help_heading = "Where to look")]
    pub mirror: Vec<String>,
    /// Where to look.
    #[command(flatten)]
    pub sources: SourceArgs,
}
