//! Words for shells: quoted for `sh`, and taken apart as `sh` does. Must not know what the words mean.

/// A word that `sh` reads as exactly this text. Words of harmless characters stay as they are, so that command lines in
/// logs can be read.
#[must_use]
pub fn quote(word: &str) -> String {
    let is_harmless = |c: char| c.is_ascii_alphanumeric() || "_@%+=:,./-".contains(c);
    if !word.is_empty() && word.chars().all(is_harmless) {
        return word.to_owned();
    }
    // The quote ends, a quoted quote follows, and it begins again: fish understands that as well as sh.
    format!("'{}'", word.replace('\'', r#"'"'"'"#))
}

/// A command that `sh` splits into exactly these words.
#[must_use]
pub fn join<S: AsRef<str>>(words: &[S]) -> String {
    let words: Vec<String> = words.iter().map(|word| quote(word.as_ref())).collect();
    words.join(" ")
}

/// The words of a command line with quotes and backslashes; `None` if a quote does not end. Nothing is expanded.
#[must_use]
pub fn split(line: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote: Option<char> = None;
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (Some(end), c) if c == end => quote = None,
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None | Some('"'), '\\') => word.get_or_insert_default().push(chars.next()?),
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    quote.is_none().then_some(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_only_where_they_must() {
        let table = [
            ("", "''"),
            ("ls", "ls"),
            ("-l", "-l"),
            ("a=b:c,d@e%f+g/h.i-j_k", "a=b:c,d@e%f+g/h.i-j_k"),
            ("a b", "'a b'"),
            ("$HOME", "'$HOME'"),
            ("~", "'~'"),
            ("it's", r#"'it'"'"'s'"#),
            ("a\nb", "'a\nb'"),
            ("ü", "'ü'"),
        ];
        for (word, quoted) in table {
            assert_eq!(quote(word), quoted);
        }
    }

    #[test]
    fn a_shell_reads_back_what_was_quoted() {
        let words = [
            "", "a b", "it's", "$HOME", "\\", "a\nb", "\"", "*", "é!", "-n", "`x`", "\t",
        ];
        let script = format!("for w in {}; do printf '%s\\0' \"$w\"; done", join(&words));
        let output = std::process::Command::new("sh")
            .args(["-c", &script])
            .output()
            .expect("a shell");
        let read: Vec<&str> = std::str::from_utf8(&output.stdout)
            .expect("a text")
            .split_terminator('\0')
            .collect();
        assert_eq!(read, words);
    }

    #[test]
    fn a_line_is_split_as_sh_does() {
        let table: [(&str, Option<&[&str]>); 9] = [
            ("", Some(&[])),
            ("  ssh  -v\t", Some(&["ssh", "-v"])),
            ("'a b' \"c d\"", Some(&["a b", "c d"])),
            ("a' 'b''", Some(&["a b"])),
            ("''", Some(&[""])),
            (r"a\ b", Some(&["a b"])),
            (r#""a\"b" 'a\b'"#, Some(&["a\"b", r"a\b"])),
            ("'a", None),
            ("a\\", None),
        ];
        for (line, words) in table {
            let words = words.map(|words| words.iter().map(|word| (*word).to_owned()).collect());
            assert_eq!(split(line), words, "{line}");
        }
    }
}
