use domain::event::{TextError, check_key, check_metric, check_user_id};

#[test]
fn texts_keep_their_limits() {
    type Check = fn(&str) -> Result<(), TextError>;
    let checks: [(Check, usize); 3] = [(check_user_id, 200), (check_metric, 100), (check_key, 200)];
    for (check, max) in checks {
        for fine in ["a", " ", "ユーザー", "a@b", "O'Brien", "\u{a0}", "👩‍👩‍👧"] {
            assert_eq!(check(fine), Ok(()), "{fine:?}");
        }
        // Characters are counted, not bytes.
        for letter in ["x", "é", "ユ", "👍"] {
            assert_eq!(check(&letter.repeat(max)), Ok(()));
            assert_eq!(check(&letter.repeat(max + 1)), Err(TextError::TooLong(max)));
        }
        assert_eq!(check(""), Err(TextError::Empty));
        for control in ["\0", "a\0b", "line\nbreak", "tab\t", "\u{7f}", "\u{85}", "\u{1b}[31m"] {
            assert_eq!(check(control), Err(TextError::Control), "{control:?}");
        }
    }
}

#[test]
fn keys_of_the_gateway_are_reserved() {
    assert_eq!(check_key("@batch/0"), Err(TextError::Reserved));
    assert_eq!(check_key("a@batch/0"), Ok(()));
    assert_eq!(check_user_id("@anna"), Ok(()));
    assert_eq!(check_metric("@signup"), Ok(()));
}
