//! The way out of a word that is not known: the nearest one that is.
//!
//! Pure. Owns what counts as near. Called wherever a user's word is looked up in a fixed list.

/// The Jaro-Winkler similarity from which a word counts as a slip of another. Tried on slips of this
/// program's keys; the cases are in the test below.
const NEAR: f64 = 0.8;

/// The nearest of `known`, if any is near.
pub fn nearest<'k>(word: &str, known: &[&'k str]) -> Option<&'k str> {
    let lower = word.to_lowercase();
    known
        .iter()
        .map(|&candidate| (similarity(&lower, &candidate.to_lowercase()), candidate))
        .filter(|(similarity, _)| *similarity >= NEAR)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}

/// Names the nearest of `known`, or lists them all.
pub fn one_of(word: &str, known: &[&str]) -> String {
    match nearest(word, known) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("use one of {}", known.join(", ")),
    }
}

fn similarity(word: &str, candidate: &str) -> f64 {
    // `table` for `dynamodb_table` is a shorter way to say the same, however far apart the lengths are.
    let part =
        word.len() >= 3 && candidate.len() >= 3 && (candidate.contains(word) || word.contains(candidate));
    let alike = strsim::jaro_winkler(word, candidate);
    if part { alike.max(0.9) } else { alike }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_finds_its_word_and_a_stranger_none() {
        let known = [
            "dynamodb_table",
            "dynamodb_stream_arn",
            "start",
            "region",
            "poll",
            "external_id",
        ];
        for (word, near) in [
            ("dynamo_table", Some("dynamodb_table")),
            ("table", Some("dynamodb_table")),
            ("stream_arn", Some("dynamodb_stream_arn")),
            ("START", Some("start")),
            ("externalId", Some("external_id")),
            ("dynamdb_tabel", Some("dynamodb_table")),
            ("strat", Some("start")),
            ("filter", None),
            ("", None),
        ] {
            assert_eq!(nearest(word, &known), near, "{word}");
        }
    }
}
