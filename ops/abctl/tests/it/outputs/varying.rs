//! The one rule for what differs from run to run: it is replaced by what it is, and by spaces where a column goes on.

/// Shapes and what they are shown as. `#` is a digit, `@` a hexadecimal one, `*` all letters, digits and `._-` to come,
/// `~` all of base64.
const SHAPES: [(&str, &str); 17] = [
    ("####-##-##T##:##:##*", "<time>"),
    ("####-##-## ##:## UTC", "<time>"),
    ("####-##-##", "<day>"),
    ("@@@@@@@@-@@@@-@@@@-@@@@-@@@@@@@@@@@@", "<uuid>"),
    ("@@@@@@@@-@@@@-@@@@-…", "<uuid>"),
    ("#############-#*", "<entry>"),
    ("127.0.0.1:#*", "127.0.0.1:<port>"),
    ("abk_*", "<key>"),
    ("whsec_~", "<secret>"),
    ("\"last_digits\":\"????\"", "\"last_digits\":\"<end>\""),
    ("\"\"last_digits\"\":\"\"????\"\"", "\"\"last_digits\"\":\"\"<end>\"\""),
    ("..????  ", "<end>   "),
    ("\"last_digits\": \"????\"", "\"last_digits\": \"<end>\""),
    ("seconds=#*", "seconds=<n>"),
    ("events_per_second=#*", "events_per_second=<n>"),
    ("\"seconds\": #*", "\"seconds\": <n>"),
    ("lines in #* s", "lines in <n> s"),
];

/// What is of 2020 stands in our files, and is the same in every run.
const OURS: &str = "2020-";

/// `text` as it is in every run.
pub fn replaced(text: &str) -> String {
    let (mut out, mut rest) = (String::new(), text);
    let mut before = '\n';
    while let Some(next) = rest.chars().next() {
        let begins = !before.is_ascii_alphanumeric() && !rest.starts_with(OURS);
        let found =
            SHAPES.iter().filter(|_| begins).find_map(|(shape, shown)| Some((fits(rest, shape)?, shown)));
        let length = match found {
            Some((length, shown)) => {
                out.push_str(shown);
                // Columns stay where they were.
                if rest[length..].starts_with("  ") {
                    let width = rest[..length].chars().count();
                    out.extend(std::iter::repeat_n(' ', width.saturating_sub(shown.chars().count())));
                }
                length
            }
            None => {
                out.push(next);
                next.len_utf8()
            }
        };
        before = rest[..length].chars().next_back().unwrap_or(next);
        rest = &rest[length..];
    }
    out
}

/// How many bytes at the beginning of `text` have the shape.
fn fits(text: &str, shape: &str) -> Option<usize> {
    let mut at = 0;
    for wanted in shape.chars() {
        let there = text[at..].chars().next();
        let fits = |is: fn(char) -> bool| there.filter(|c| is(*c));
        at += match wanted {
            '#' => fits(|c| c.is_ascii_digit())?.len_utf8(),
            '@' => fits(|c| c.is_ascii_hexdigit())?.len_utf8(),
            '?' => fits(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'))?.len_utf8(),
            '~' => {
                let more = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '=');
                text[at..].chars().take_while(more).count()
            }
            '*' => {
                let more = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
                text[at..].chars().take_while(more).count()
            }
            other => there.filter(|c| *c == other)?.len_utf8(),
        };
    }
    Some(at)
}

/// Without the widths of columns, where rows are left out or cells differ in width.
pub fn narrow(text: &str) -> String {
    let line = |line: &str| {
        let cells = line.split("  ").map(str::trim).filter(|cell| !cell.is_empty());
        cells.collect::<Vec<_>>().join("  ") + "\n"
    };
    text.lines().map(line).collect()
}

#[test]
fn what_differs_is_replaced_and_columns_stay() {
    for (text, wanted) in [
        ("since 2026-11-21 21:52 UTC, all\n", "since <time>, all\n"),
        ("a  2026-11-21 21:52 UTC  b\n", "a  <time>                b\n"),
        ("2026-11-21T21:52:25.123Z,x 2020-01-01T00:00:00Z", "<time>,x 2020-01-01T00:00:00Z"),
        ("http://127.0.0.1:40123/hook", "http://127.0.0.1:<port>/hook"),
        ("(404 Not Found, request 0b8f1f3e-53a1-4d3f-9d0b-7c0f5a3c9d11)", "(404 Not Found, request <uuid>)"),
        ("0b8f1f3e-53a1-4d3f-…  {}", "<uuid>                {}"),
        ("whsec_a+/b=\"", "<secret>\""),
        ("3 lines in 0.1 s\n", "3 lines in <n> s\n"),
        ("     1  ..a_-Z  read", "     1  <end>   read"),
    ] {
        assert_eq!(replaced(text), wanted);
    }
    assert_eq!(narrow("a   b    c  \n x\n"), "a  b  c\nx\n");
}
