//! The keys that detach a terminal from a command, as Docker writes them, and how they are found in what is typed.

/// The keys that detach a client if none are chosen: Docker's, Ctrl-P and Ctrl-Q.
pub const DETACH_KEYS: [u8; 2] = [0x10, 0x11];

/// Reads keys as `docker attach --detach-keys` writes them: `ctrl-p,ctrl-q`, `a`, `ctrl-@`. None: they are wrong.
pub fn parse_keys(written: &str) -> Option<Vec<u8>> {
    let key = |key: &str| match key.strip_prefix("ctrl-").map(str::as_bytes) {
        Some([letter @ b'a'..=b'z']) => Some(letter - b'a' + 1),
        Some(b"@") => Some(0),
        Some([other @ b'['..=b'_']) => Some(other - b'[' + 27),
        Some(_) => None,
        None => key.as_bytes().first().copied().filter(|first| key.len() == 1 && first.is_ascii_graphic()),
    };
    written.split(',').map(key).collect()
}

/// Finds the keys that detach in what is typed. What may be their beginning is held back until the next key.
#[derive(Debug)]
pub struct KeyFinder {
    keys: Vec<u8>,
    /// How many of them were typed.
    matched: usize,
}

impl KeyFinder {
    /// For these keys. Without any, nothing is found.
    pub fn new(keys: Vec<u8>) -> KeyFinder {
        KeyFinder { keys, matched: 0 }
    }

    /// Takes what was typed. Returns what is for the command, and whether all keys were found.
    pub fn take(&mut self, typed: &[u8]) -> (Vec<u8>, bool) {
        let mut out = Vec::with_capacity(typed.len());
        for byte in typed {
            if self.keys.get(self.matched) == Some(byte) {
                self.matched += 1;
                if self.matched == self.keys.len() {
                    return (out, true);
                }
                continue;
            }
            out.extend_from_slice(&self.keys[..self.matched]);
            self.matched = 0;
            if self.keys.first() == Some(byte) {
                self.matched = 1;
            } else {
                out.push(*byte);
            }
        }
        (out, false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_written_as_in_docker() {
        assert_eq!(parse_keys("ctrl-p,ctrl-q"), Some(DETACH_KEYS.to_vec()));
        assert_eq!(parse_keys("ctrl-@,a,ctrl-[,ctrl-_"), Some(vec![0, b'a', 27, 31]));
        for wrong in ["", "ctrl-", "ctrl-1", "ab", "ctrl-p,", "ctrl-P", "é"] {
            assert_eq!(parse_keys(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn keys_are_found_in_any_pieces_and_nothing_else_is_lost() {
        let typed = b"a\x10b\x10\x10c\x11\x10\x11after";
        for size in 1..=typed.len() {
            let mut finder = KeyFinder::new(DETACH_KEYS.to_vec());
            let (mut out, mut is_found) = (Vec::new(), false);
            for piece in typed.chunks(size) {
                if is_found {
                    break;
                }
                let (more, found) = finder.take(piece);
                out.extend(more);
                is_found = found;
            }
            assert!(is_found && out == b"a\x10b\x10\x10c\x11", "{size}: {out:?}");
        }
    }
}
