//! Certificates made for one test, by the `openssl` program.

use crate::{os, sandbox};
use anyhow::{Context, Result, bail};
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::PathBuf;
use std::process::Command;

/// Somebody to trust, and what they signed. The files go with the test's other ones.
pub struct Certificates {
    dir: PathBuf,
}

impl Certificates {
    /// With a certificate for `localhost` and 127.0.0.1, and one for `elsewhere.test`.
    pub fn make() -> Result<Self> {
        if os::on_path("openssl").is_none() {
            bail!("openssl not found on PATH: run `make setup`");
        }
        let made = Self { dir: sandbox::temp_dir("certificates")? };
        fs::set_permissions(&made.dir, fs::Permissions::from_mode(0o755))?;
        made.openssl("req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=testkit -keyout ca.key -out ca.pem")?;
        made.sign("here", "DNS:localhost,IP:127.0.0.1")?;
        made.sign("elsewhere", "DNS:elsewhere.test")?;
        Ok(made)
    }

    /// Whoever signed the others.
    pub fn authority(&self) -> PathBuf {
        self.dir.join("ca.pem")
    }

    /// `here` or `elsewhere`.
    pub fn certificate(&self, name: &str) -> PathBuf {
        self.dir.join(format!("{name}.pem"))
    }

    pub fn key(&self, name: &str) -> PathBuf {
        self.dir.join(format!("{name}.key"))
    }

    /// Signs a certificate of that name for these places; one of the same name is replaced.
    pub fn sign(&self, name: &str, places: &str) -> Result<()> {
        self.sign_for(name, places, 2)
    }

    /// The same, to last for that many days.
    pub fn sign_for(&self, name: &str, places: &str, days: u32) -> Result<()> {
        fs::write(self.dir.join("places"), format!("subjectAltName={places}\n"))?;
        let key = format!("{name}.key");
        self.openssl(&format!("req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN={name} -keyout {key} -out {name}.csr"))?;
        self.openssl(&format!("x509 -req -in {name}.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days {days} -extfile places -out {name}.pem"))?;
        // PostgreSQL does not run as root, and wants its key to be its own.
        if let (0, Some((uid, gid))) = (os::uid()?, os::user("postgres").or_else(|| os::user("nobody"))) {
            chown(self.dir.join(&key), Some(uid), Some(gid))?;
        }
        Ok(())
    }

    /// When the certificate of that name ends, in seconds since the epoch, as `openssl` reads it.
    pub fn not_after(&self, name: &str) -> Result<i64> {
        let mut command = Command::new("openssl");
        command.args("x509 -noout -enddate -dateopt iso_8601 -in".split(' ')).arg(self.certificate(name));
        let said = os::said(&mut command)?;
        let end = said.trim().strip_prefix("notAfter=").with_context(|| said.clone())?;
        Ok(end.parse::<jiff::Timestamp>()?.as_second())
    }

    fn openssl(&self, arguments: &str) -> Result<()> {
        os::run(Command::new("openssl").args(arguments.split(' ')).current_dir(&self.dir))
    }
}
