//! The whole pipeline as its users run it: private servers, separate processes, HTTP. For the demo, the end-to-end
//! tests and the benchmark; nothing here is part of the product.

// A failure is shown to whoever runs the demo or the test.
#![allow(clippy::expect_used, clippy::panic, clippy::print_stdout, clippy::unwrap_used)]

pub mod backlog;
pub mod chaos;
pub mod crowd;
mod deployment;
pub mod diary;
mod load;
pub mod loaded;
mod one_process;
pub mod patience;
pub mod run;
pub mod sdks;
pub mod system;

pub use deployment::Deployment;
pub use load::Load;
pub use one_process::OneProcess;
pub use system::{ADMIN_TOKEN, API_TOKEN, Setup, System, Tier};

use std::process::ExitCode;

/// How a program of ours ends; what went wrong stands behind its name.
#[allow(clippy::print_stderr)]
pub fn ended(program: &str, outcome: anyhow::Result<()>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{program}: {error:#}");
            ExitCode::FAILURE
        }
    }
}
