use super::Problem;

/// Levels of arrays and objects a JSON body may nest.
pub const MAX_DEPTH: usize = 32;

/// Refuses JSON nested deeper than [`MAX_DEPTH`] before a parser recurses into it. Looks at brackets outside strings
/// only; whether the text is JSON is the parser's to say. NDJSON is checked line by line.
pub fn check_depth(json: &[u8]) -> Result<(), Problem> {
    let mut depth = 0_usize;
    let mut bytes = json.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => skip_string(&mut bytes),
            b'[' | b'{' => {
                depth += 1;
                if depth > MAX_DEPTH {
                    return Err(Problem::bad_request(
                        "json_too_deep",
                        "JSON is nested deeper than 32 levels",
                    ));
                }
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    Ok(())
}

fn skip_string(bytes: &mut std::slice::Iter<'_, u8>) {
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => return,
            b'\\' => drop(bytes.next()),
            _ => {}
        }
    }
}
