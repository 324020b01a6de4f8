//! `abctl completions`: a script for the shell, of every command and flag there is.

use crate::output;
use clap::Args;
use clap_complete::Shell;
use std::io;

/// Print a script with which the shell completes commands and flags.
///
/// bash: `source <(abctl completions bash)`; zsh: into `_abctl` in a directory of $fpath; fish: into
/// ~/.config/fish/completions/abctl.fish.
#[derive(Args)]
pub struct Completions {
    #[arg(value_enum)]
    shell: Shell,
}

impl Completions {
    pub fn print(&self, mut command: clap::Command) -> io::Result<()> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut command, "abctl", &mut script);
        output::untouched(&script)
    }
}
