//! Lines of a reader, each of bounded length.

use std::io::{self, BufRead};

/// Longer lines are not kept: no event of ours is near.
pub const LINE_MAX: usize = 256 * 1024;

/// Reads the next line into `line`, without its end. `None` at the end of the reader; `Some(false)`: the line is longer
/// than [`LINE_MAX`], and `line` holds its beginning.
pub fn next(reader: &mut dyn BufRead, line: &mut Vec<u8>) -> io::Result<Option<bool>> {
    line.clear();
    let (mut whole, mut any) = (true, false);
    loop {
        let bytes = reader.fill_buf()?;
        if bytes.is_empty() {
            break;
        }
        any = true;
        let end = bytes.iter().position(|byte| *byte == b'\n');
        let text = &bytes[..end.unwrap_or(bytes.len())];
        let room = LINE_MAX - line.len();
        whole &= text.len() <= room;
        line.extend_from_slice(&text[..text.len().min(room)]);
        let used = end.map_or(bytes.len(), |end| end + 1);
        reader.consume(used);
        if end.is_some() {
            break;
        }
    }
    if line.last() == Some(&b'\r') {
        line.pop();
    }
    Ok(any.then_some(whole))
}
