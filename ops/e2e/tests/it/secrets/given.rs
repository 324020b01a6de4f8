//! The same settings given as variables, as files of their own, and as a settings file.

use std::path::Path;

/// Variables of a program.
pub type Given = Vec<(String, String)>;

/// Every variable whose value may be in a file.
pub const SECRETS: [&str; 8] = [
    "AB_API_TOKEN",
    "AB_READONLY_API_TOKEN",
    "AB_ADMIN_TOKEN",
    "AB_API_KEYS",
    "AB_WORKSPACE_SIGNING_KEY",
    "AB_DATABASE_URL",
    "AB_REDIS_URL",
    "AB_OTLP_HEADERS",
];

pub fn as_files(directory: &Path, settings: &Given) -> Given {
    let given = settings.iter().map(|(name, value)| match SECRETS.contains(&name.as_str()) {
        false => (name.clone(), value.clone()),
        true => {
            let path = directory.join(name.to_lowercase());
            // With the line end that editors leave.
            std::fs::write(&path, format!("{value}\n")).unwrap();
            (format!("{name}_FILE"), path.to_str().unwrap().to_owned())
        }
    });
    given.collect()
}

/// In a YAML file, half of the secrets from variables.
pub fn as_yaml(directory: &Path, settings: &Given) -> Given {
    let mut text = String::new();
    let mut variables = Given::new();
    for (number, (name, value)) in settings.iter().enumerate() {
        let key = name.strip_prefix("AB_").unwrap().to_lowercase();
        if number % 2 == 0 {
            text.push_str(&format!("{key}: '{value}'\n"));
        } else {
            text.push_str(&format!("{key}: '${{GIVEN_{number}}}'\n"));
            variables.push((format!("GIVEN_{number}"), value.clone()));
        }
    }
    let path = directory.join("settings.yaml");
    std::fs::write(&path, text).unwrap();
    variables.push(("AB_CONFIG".to_owned(), path.to_str().unwrap().to_owned()));
    // Shadowed, and said so by name.
    variables.push(("AB_API_TOKEN".to_owned(), "hidden-shadowed-0123456789".to_owned()));
    variables
}
