//! Every command there is, as clap has them.

use clap::Command;

/// A command without subcommands, and how to call it.
pub struct Leaf {
    pub path: Vec<String>,
    /// Something for every argument it cannot do without.
    pub arguments: Vec<String>,
}

impl Leaf {
    pub fn name(&self) -> String {
        self.path.join(" ")
    }

    pub fn call(&self) -> Vec<String> {
        self.path.iter().chain(&self.arguments).cloned().collect()
    }
}

/// Every command and group of commands by its path; the empty one is abctl itself.
pub fn paths() -> Vec<Vec<String>> {
    let mut found = vec![Vec::new()];
    walk(&mut abctl::cli::command(), &mut |path, _| found.push(path.to_vec()), &mut Vec::new());
    found
}

pub fn leaves() -> Vec<Leaf> {
    let mut found = Vec::new();
    let mut see = |path: &[String], command: &Command| {
        if !command.has_subcommands() {
            found.push(Leaf { path: path.to_vec(), arguments: required(command) });
        }
    };
    walk(&mut abctl::cli::command(), &mut see, &mut Vec::new());
    found
}

fn walk(command: &mut Command, see: &mut impl FnMut(&[String], &Command), path: &mut Vec<String>) {
    for inner in command.get_subcommands_mut().filter(|inner| inner.get_name() != "help") {
        path.push(inner.get_name().to_owned());
        see(path, inner);
        walk(inner, see, path);
        path.pop();
    }
}

fn required(command: &Command) -> Vec<String> {
    let needed = command.get_arguments().filter(|argument| argument.is_required_set());
    let mut arguments = Vec::new();
    for argument in needed {
        if let Some(long) = argument.get_long() {
            arguments.push(format!("--{long}"));
        }
        let values = argument.get_possible_values();
        arguments.push(values.first().map_or_else(|| "1".to_owned(), |value| value.get_name().to_owned()));
    }
    arguments
}
