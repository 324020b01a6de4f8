//! The two keys that a first start makes.

use service::auth::random_key;
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
        Ok(Made { all: random_key("ab_all_")?, events: random_key("ab_events_")? })
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
