//! Patterns for column names: a name, in which each `*` stands for any run of characters.

/// Whether `pattern` stands for more than the one name that it spells.
pub fn is_glob(pattern: &str) -> bool {
    pattern.contains('*')
}

/// Whether `name` fits `pattern`. Letter case counts; `*` is the only special character.
pub fn glob_matches(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    // `split` yields at least one part, and exactly one where there is no star.
    let first = parts.next().unwrap_or_default();
    let Some(last) = parts.next_back() else {
        return pattern == name;
    };
    let Some(mut rest) = name.strip_prefix(first) else {
        return false;
    };
    // Taking the leftmost place for each middle part leaves the most room for those that follow.
    for part in parts {
        let Some(at) = rest.find(part) else {
            return false;
        };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_a_reader_expects() {
        for (pattern, name, expected) in [
            ("*", "", true),
            ("*", "anything", true),
            ("delay", "delay", true),
            ("delay", "delays", false),
            ("*delay", "arr_delay", true),
            ("*delay", "delayed", false),
            ("dep_*", "dep_time", true),
            ("a*b*c", "axxbyyc", true),
            ("a*b*c", "acb", false),
            ("a*a", "a", false),
            ("a*ab*b", "aab", false),
            ("a*ab*b", "aabb", true),
            ("**x", "x", true),
            ("ö*ü", "öäü", true),
            ("Dep*", "dep", false),
        ] {
            assert_eq!(glob_matches(pattern, name), expected, "{pattern} on {name}");
        }
    }
}
