//! `--chmod` of `COPY` and `ADD`: an octal number, or changes of the mode of each file, as chmod(1) reads them.
//!
//! | written | meaning |
//! |---|---|
//! | `u`, `g`, `o`, `a` | the owner, the group, others, all of them. None of these is all, without the bits of the umask 022 |
//! | `+`, `-`, `=` | adds permissions, removes them, sets exactly these |
//! | `r`, `w`, `x`, `s`, `t` | read, write, execute, set-user-ID or set-group-ID, sticky |
//! | `X` | execute, for directories and for files that somebody can execute |
//! | `u`, `g`, `o` after the operator | the permissions that these have |

/// The bits that a file does not get if it is not written whose permissions are changed.
const UMASK: u32 = 0o022;

/// The mode that copied files get.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CopiedMode {
    /// This one.
    Exact(u32),
    /// That of the source, after these changes.
    Changed(Vec<ModeChange>),
}

/// A change of a mode: `go=rX`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModeChange {
    /// `u`, `g`, `o`. Empty: none was written.
    who: String,
    operator: char,
    /// The permissions, or one of `u`, `g`, `o`.
    permissions: String,
}

impl CopiedMode {
    /// Reads it. None: it is no mode.
    pub fn read(written: &str) -> Option<CopiedMode> {
        if written.bytes().all(|byte| byte.is_ascii_digit()) {
            let number = u32::from_str_radix(written, 8).ok();
            return number.filter(|mode| *mode <= 0o7777).map(CopiedMode::Exact);
        }
        let mut changes = Vec::new();
        for clause in written.split(',') {
            let at = clause.find(['+', '-', '='])?;
            let (who, mut rest) = clause.split_at(at);
            if !who.chars().all(|class| "ugoa".contains(class)) {
                return None;
            }
            while let Some(operator) = rest.chars().next() {
                let list = &rest[1..];
                let end = list.find(['+', '-', '=']).unwrap_or(list.len());
                let permissions = &list[..end];
                let is_copy = ["u", "g", "o"].contains(&permissions);
                if !is_copy && !permissions.chars().all(|one| "rwxXst".contains(one)) {
                    return None;
                }
                let (who, permissions) = (who.replace('a', "ugo"), permissions.to_owned());
                changes.push(ModeChange { who, operator, permissions });
                rest = &list[end..];
            }
        }
        Some(CopiedMode::Changed(changes))
    }

    /// The mode of a file that has this one.
    pub fn applied(&self, mode: u32, is_directory: bool) -> u32 {
        match self {
            CopiedMode::Exact(mode) => *mode,
            CopiedMode::Changed(changes) => {
                changes.iter().fold(mode, |mode, change| change.applied(mode, is_directory))
            }
        }
    }
}

impl ModeChange {
    fn applied(&self, mode: u32, is_directory: bool) -> u32 {
        let classes = if self.who.is_empty() { "ugo" } else { &self.who };
        let mut bits = 0;
        // What `=` removes first.
        let mut cleared = 0;
        for class in classes.chars() {
            let (shift, set_id) = match class {
                'u' => (6, 0o4000),
                'g' => (3, 0o2000),
                _ => (0, 0),
            };
            cleared |= 0o7 << shift | set_id;
            for one in self.permissions.chars() {
                bits |= match one {
                    'r' => 0o4 << shift,
                    'w' => 0o2 << shift,
                    'X' if !is_directory && mode & 0o111 == 0 => 0,
                    'x' | 'X' => 0o1 << shift,
                    's' => set_id,
                    't' => 0o1000,
                    'u' => (mode >> 6 & 0o7) << shift,
                    'g' => (mode >> 3 & 0o7) << shift,
                    _ => (mode & 0o7) << shift,
                };
            }
        }
        if self.who.is_empty() {
            bits &= !UMASK;
        }
        match self.operator {
            '+' => mode | bits,
            '-' => mode & !bits,
            _ => mode & !cleared | bits,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_read_as_chmod_reads_them() {
        for (written, mode, is_directory, wanted) in [
            ("0755", 0o600, false, 0o755),
            ("4711", 0o600, false, 0o4711),
            ("u=rwX,go=rX", 0o600, false, 0o644),
            ("u=rwX,go=rX", 0o700, false, 0o755),
            ("u=rwX,go=rX", 0o600, true, 0o755),
            ("+x", 0o600, false, 0o711),
            ("+w", 0o400, false, 0o600),
            ("a+w", 0o400, false, 0o622),
            ("g=u", 0o640, false, 0o660),
            ("go-rwx", 0o4777, false, 0o4700),
            ("u+s,g+s", 0o755, false, 0o6755),
            ("+t", 0o777, true, 0o1777),
            ("u=", 0o4755, false, 0o055),
            ("ug+r-x", 0o111, false, 0o441),
            ("a-x+X", 0o755, false, 0o644),
        ] {
            let read = CopiedMode::read(written).expect(written);
            let found = read.applied(mode, is_directory);
            assert_eq!(found, wanted, "{written} on {mode:o}: {found:o}");
        }
        for wrong in ["", "8", "10000", "x", "u", "u=rz", "u=rw,", "z+x", "u=ur", "644x", "-1"] {
            assert_eq!(CopiedMode::read(wrong), None, "{wrong}");
        }
    }
}
