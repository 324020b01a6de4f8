//! The two keys that a first start makes.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use std::path::PathBuf;

/// What the file of keys says.
pub struct Keys {
    pub file: PathBuf,
    /// As in `AB_API_KEYS_FILE`.
    pub entries: String,
    /// Those of this start, if it made them.
    pub made: Option<Made>,
}

/// New keys of tenant `default`.
pub struct Made {
    /// Every scope.
    pub all: String,
    /// May only send events: for browsers and apps.
    pub events: String,
}

impl Made {
    pub fn random() -> Result<Made, getrandom::Error> {
        Ok(Made { all: random("ab_all_")?, events: random("ab_events_")? })
    }

    pub fn entries(&self) -> String {
        let Made { all, events } = self;
        format!(
            "# Keys of this abstream, one a line: key:tenant:scope,scope. A change counts within seconds.\n\
             {all}:default:events,ingest,read,admin,operator\n\
             {events}:default:events\n"
        )
    }
}

/// The prefix says what was found to those who find it, scanners of repositories among them.
fn random(prefix: &str) -> Result<String, getrandom::Error> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes)?;
    Ok(format!("{prefix}{}", URL_SAFE_NO_PAD.encode(bytes)))
}
