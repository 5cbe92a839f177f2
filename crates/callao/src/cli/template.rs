//! The flags of every command that reads a template: which of its files are meant.

use clap::Args;

/// Which files of a template are meant.
#[derive(Debug, Clone, Default, Args)]
pub struct TemplateArgs {
    /// Architecture whose files of a template are fetched [default: that of this computer]
    #[arg(long, value_name = "ARCH")]
    pub arch: Option<String>,
    /// Take the images of this variant [default: that of the first image]
    #[arg(long, value_name = "NAME")]
    pub image_variant: Option<String>,
    /// Take the images of this archVariant [default: that of the first image]
    #[arg(long, value_name = "NAME")]
    pub arch_variant: Option<String>,
    /// Leave out the containerd archives of a template
    #[arg(long)]
    pub no_archives: bool,
}
