use super::*;

#[test]
fn an_identifier_survives_printing_and_parsing() {
    let id = PodId::random().unwrap();
    let text = id.to_string();
    assert_eq!(text.len(), ID_DIGITS);
    assert_eq!(text.parse::<PodId>().unwrap(), id);
    assert_eq!(id.short(), &text[..13]);
}

#[test]
fn strings_that_are_no_identifiers_are_refused_with_the_reason() {
    assert!(matches!("".parse::<PodId>(), Err(IdError::Length(_, 0))));
    assert!(matches!(
        "../../etc".parse::<ContainerId>(),
        Err(IdError::Length(..))
    ));
    let upper = "A".repeat(ID_DIGITS);
    assert!(matches!(upper.parse::<PodId>(), Err(IdError::Digit(_))));
    let other = "g".repeat(ID_DIGITS);
    assert!(matches!(other.parse::<PodId>(), Err(IdError::Digit(_))));
    let wide = "é".repeat(ID_DIGITS / 2);
    assert!(matches!(wide.parse::<PodId>(), Err(IdError::Digit(_))));
}

#[test]
fn candidates_are_named_or_counted() {
    assert_eq!(candidates([1, 2]), "1, 2");
    assert_eq!(candidates(1..=4), "1, 2, 3, 4");
    assert_eq!(candidates(1..=17), "1, 2, 3, 4 and 13 more");
}
