//! Rows on their way to a client, some at a time.

use std::time::Duration;

use serde::Serialize;
use service::http::Broken;
use tokio::time::timeout;

use super::{Client, Failure, Format};

/// Bytes collected before they are sent.
const SEND_FROM: usize = 64 * 1024;
/// A client that takes nothing for this long is gone.
const PATIENCE: Duration = Duration::from_secs(60);

pub struct Sheet {
    format: Format,
    limit: u64,
    rows: u64,
    waiting: Vec<u8>,
    client: Client,
}

/// Why no more rows are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum End {
    #[error("the limit is reached")]
    Limit,
    #[error("nobody reads the export any more")]
    Unread,
}

/// The last line of an export that has fewer rows than there are.
#[derive(Serialize)]
struct Cut {
    #[serde(rename = "type")]
    kind: &'static str,
    rows: u64,
}

impl Sheet {
    pub fn new(format: Format, limit: u64, client: Client) -> Sheet {
        Sheet { format, limit, rows: 0, waiting: Vec::new(), client }
    }

    /// The names of the columns; an object has them in every row.
    pub fn head(&mut self, names: &[String]) -> Result<(), Failure> {
        match self.format {
            Format::Csv => Ok(record(&mut self.waiting, names)?),
            Format::NdJson => Ok(()),
        }
    }

    /// A row, as an object or as cells.
    pub async fn row<T: Serialize>(
        &mut self,
        row: &T,
        cells: impl Fn(&T) -> Vec<String>,
    ) -> Result<(), Failure> {
        if self.rows >= self.limit {
            cut(&mut self.waiting, self.format, self.rows)?;
            self.send().await?;
            return Err(End::Limit.into());
        }
        self.rows += 1;
        line(&mut self.waiting, self.format, row, cells)?;
        if self.waiting.len() >= SEND_FROM { Ok(self.send().await?) } else { Ok(()) }
    }

    pub async fn end(&mut self) -> Result<(), End> {
        self.send().await
    }

    /// Nobody must take what was sent for all of it.
    pub async fn break_off(&mut self) {
        // A client that is gone needs not be told.
        let _ = timeout(PATIENCE, self.client.send(Err(Broken))).await;
    }

    async fn send(&mut self) -> Result<(), End> {
        let bytes = std::mem::take(&mut self.waiting).into();
        match timeout(PATIENCE, self.client.send(Ok(bytes))).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(End::Unread),
        }
    }
}

pub fn line<T: Serialize>(
    to: &mut Vec<u8>,
    format: Format,
    row: &T,
    cells: impl Fn(&T) -> Vec<String>,
) -> Result<(), Failure> {
    match format {
        Format::Csv => record(to, &cells(row))?,
        Format::NdJson => {
            serde_json::to_writer(&mut *to, row)?;
            to.push(b'\n');
        }
    }
    Ok(())
}

/// A line that no reader takes for a row.
pub fn cut(to: &mut Vec<u8>, format: Format, rows: u64) -> Result<(), Failure> {
    let told = |_: &Cut| vec![format!("# cut after {rows} rows: there are more")];
    line(to, format, &Cut { kind: "cut", rows }, told)
}

pub fn record(to: &mut Vec<u8>, cells: &[String]) -> Result<(), csv::Error> {
    let mut writer = csv::WriterBuilder::new().flexible(true).from_writer(to);
    writer.write_record(cells)?;
    Ok(writer.flush()?)
}
