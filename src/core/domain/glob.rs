//! Shell-style patterns for names.

/// Whether `*` (any text) and `?` (one character) in the pattern make it the whole text. The time is linear in the
/// text for each `*`, because only the last `*` is tried again.
pub fn matches(pattern: &str, text: &str) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    let at = |text: &str, i: usize| text.get(i..).and_then(|rest| rest.chars().next());
    while let Some(c) = at(text, t) {
        match at(pattern, p) {
            Some('*') => {
                star = Some((p + 1, t));
                p += 1;
            }
            Some(wanted) if wanted == '?' || wanted == c => {
                p += wanted.len_utf8();
                t += c.len_utf8();
            }
            _ => match star {
                Some((after, from)) => {
                    let next = from + at(text, from).map_or(1, char::len_utf8);
                    star = Some((after, next));
                    (p, t) = (after, next);
                }
                None => return false,
            },
        }
    }
    pattern.get(p..).is_some_and(|rest| rest.chars().all(|c| c == '*'))
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn wildcards() {
        for (glob, name, wanted) in [
            ("api-*", "api-1", true),
            ("api-*", "api", false),
            ("*", "", true),
            ("a*b*c", "axxbyybzc", true),
            ("a*b*c", "axxbyybz", false),
            ("a?c", "abc", true),
            ("a?c", "aéc", true),
            ("a?c", "ac", false),
            ("*é", "xxéé", true),
            ("", "", true),
            ("", "a", false),
        ] {
            assert_eq!(matches(glob, name), wanted, "{glob} {name}");
        }
    }
}
