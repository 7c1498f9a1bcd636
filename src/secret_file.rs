//! The modes of files on which a secret's safety depends.

#![forbid(unsafe_code)]

/// What is wrong with the mode of a file, and with those of the directories that it stands in; each reads on after its
/// name. `is_secret`: nobody but its owner and group should read it.
pub fn complaints(is_secret: bool, file: u32, directories: &[u32]) -> Vec<&'static str> {
    let in_sticky = |mode: &u32| mode & 0o1000 != 0;
    [
        (is_secret && file & 0o004 != 0, "is readable by others than its owner and group"),
        (file & 0o022 != 0, "is writable by others than its owner"),
        (
            directories.iter().any(|mode| mode & 0o002 != 0 && !in_sticky(mode)),
            "stands in a directory where everybody may replace it",
        ),
    ]
    .into_iter()
    .filter_map(|(is_so, complaint)| is_so.then_some(complaint))
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_may_read_and_write() {
        for (mode, expected) in [
            (0o100_600, &[][..]),
            (0o100_640, &[]),
            (0o100_604, &["is readable by others than its owner and group"]),
            (0o100_660, &["is writable by others than its owner"]),
            (0o100_602, &["is writable by others than its owner"]),
            (
                0o100_666,
                &[
                    "is readable by others than its owner and group",
                    "is writable by others than its owner",
                ],
            ),
        ] {
            assert_eq!(complaints(true, mode, &[0o040_755, 0o041_777]), expected, "{mode:o}");
        }
        assert_eq!(complaints(false, 0o100_644, &[]), [""; 0]);
        assert_eq!(complaints(false, 0o100_664, &[]), ["is writable by others than its owner"]);
        let replaced = ["stands in a directory where everybody may replace it"];
        assert_eq!(complaints(true, 0o100_600, &[0o040_755, 0o040_777]), replaced);
    }
}
