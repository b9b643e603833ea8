//! What the words of `exec` mean: `-u USER[:GROUP]`, `-e NAME[=VALUE]` and `--env-file FILE`.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::host::accounts::Accounts;
use crate::security::run_as::RunAs;
use crate::text::{printed, text, text_with, word};

/// The variables that a command line adds, as `NAME=VALUE`: first those of these files of the caller, then `own`. A word of `own`
/// without a value is a variable of the caller. If there is none, it is returned without `=`: as for Docker, the command shall not
/// have this variable.
///
/// # Errors
/// A file cannot be read, or a line or a word of `own` has no name of a variable.
pub fn variables(files: &[PathBuf], own: &[OsString]) -> Result<Vec<OsString>> {
    let mut all = Vec::new();
    for path in files {
        let content = content_of(path).map_err(|why| {
            Error::failed(text_with("exec.with.file", &[("path", &printed(path))])).why(why)
        })?;
        // The form of /proc/PID/environ: a value may have several lines.
        if content.contains(&0) {
            let records = content.split(|byte| *byte == 0).enumerate();
            for (index, record) in records.filter(|(_, one)| !one.is_empty() && one[0] != b'=') {
                let name = record.iter().position(|byte| *byte == b'=').map(|end| &record[..end]);
                // A name may have a blank, in Docker's API too. A newline is of a file of lines.
                if name.is_none_or(|name| name.contains(&b'\n')) {
                    let place = [("path", &*printed(path)), ("record", &(index + 1).to_string())];
                    let error = Error::failed(text_with("exec.with.record", &place));
                    return Err(error.why(text("exec.with.record.reason")));
                }
                all.push(OsStr::from_bytes(record).to_owned());
            }
            continue;
        }
        let content = content.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&content);
        for (index, line) in content.split(|byte| *byte == b'\n').enumerate() {
            let line = line.strip_suffix(b"\r").unwrap_or(line).trim_ascii_start();
            if line.is_empty() || line.starts_with(b"#") {
                continue;
            }
            let name = line.split(|byte| *byte == b'=').next().unwrap_or_default();
            if name.is_empty() || name.iter().any(u8::is_ascii_whitespace) {
                let place = [("path", &*printed(path)), ("line", &(index + 1).to_string())];
                return Err(Error::failed(text_with("exec.with.line", &place)));
            }
            all.extend(variable(OsStr::from_bytes(line)));
        }
    }
    for one in own {
        if one.is_empty() || one.as_bytes().starts_with(b"=") {
            return Err(Error::usage(text_with("exec.with.env", &[("value", &word(&printed(one)))])));
        }
        all.push(variable(one).unwrap_or_else(|| one.clone()));
    }
    Ok(all)
}

/// The maximum size of a file with variables: execve(2) takes no more for the arguments and the variables together.
const MAX_FILE: u64 = 6 << 20;

/// The content of a file with variables. That of a device may have no end.
fn content_of(path: &Path) -> std::result::Result<Vec<u8>, String> {
    let why = |error: std::io::Error| crate::error::io_text(&error);
    let file = File::open(path).map_err(why)?;
    let mut content = Vec::new();
    file.take(MAX_FILE + 1).read_to_end(&mut content).map_err(why)?;
    match content.len() as u64 > MAX_FILE {
        true => Err(text("exec.with.large")),
        false => Ok(content),
    }
}

/// `NAME=VALUE` as it is, and `NAME` with its value in the caller's environment, if it has one.
fn variable(written: &OsStr) -> Option<OsString> {
    if written.as_bytes().contains(&b'=') {
        return Some(written.to_owned());
    }
    let value = std::env::var_os(written)?;
    Some([written, &value].join(OsStr::new("=")))
}

/// A user that was named, as the container's own files describe it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedUser {
    /// The IDs.
    pub ids: RunAs,
    /// The supplementary groups: those that list the name of the user as a member. A user without an account has none, and so has
    /// one whose group is named too.
    pub groups: Vec<u32>,
    /// The home directory.
    pub home: PathBuf,
}

/// The user that `USER[:GROUP]` means.
///
/// # Errors
/// It has another form, there is no such user or group, or the file with the names cannot be read.
pub fn user_of(written: &OsStr, accounts: &Accounts) -> Result<NamedUser> {
    let shown = printed(written);
    let wrong = |key: &str| Error::failed(text_with(key, &[("user", &shown)]));
    let unread = |error: std::io::Error| wrong("exec.with.unread").why(crate::error::io_text(&error));
    let none = |key: &str, part: &[u8]| {
        Error::failed(text_with(key, &[("name", &printed(OsStr::from_bytes(part)))]))
    };
    let bytes = written.as_bytes();
    let (user, group) = match bytes.iter().position(|byte| *byte == b':') {
        // An empty group is none, as for Docker: `USER ${NAME}:${GROUP}`.
        Some(colon) => (&bytes[..colon], Some(&bytes[colon + 1..]).filter(|group| !group.is_empty())),
        None => (bytes, None),
    };
    // What begins like a number is one, or a mistake: /etc/passwd of a container may have a line with the name 1000.
    let id = |part: &[u8]| -> Result<Option<u32>> {
        match part.first() {
            None => Err(wrong("exec.with.user.empty")),
            Some(first) if first.is_ascii_digit() || b"+- ".contains(first) => {
                // Docker takes `007` and `+7` for 7. The last number means no ID to the kernel.
                let digits = part.strip_prefix(b"+").unwrap_or(part);
                let is_number = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
                let number = std::str::from_utf8(digits).ok().filter(|_| is_number);
                let number = number.and_then(|digits| digits.parse().ok()).filter(|id| *id != u32::MAX);
                number.map(Some).ok_or_else(|| wrong("exec.with.user.id"))
            }
            Some(_) => Ok(None),
        }
    };
    let account = match user {
        // A group alone: Docker takes root.
        [] if !bytes.is_empty() => Some(0),
        _ => id(user)?,
    };
    let account = match account {
        Some(uid) => Err(uid),
        None => Ok(accounts.user(user).map_err(unread)?.ok_or_else(|| none("exec.with.user.none", user))?),
    };
    // A number is never a name, but an account may have it: then its groups are those of the user.
    let (uid, account) = match account {
        Ok(account) => (account.uid, Some(account)),
        Err(uid) => (uid, accounts.user_of(uid)),
    };
    // Without an account, Docker takes the group 0.
    let own_gid = account.as_ref().map_or(0, |account| account.gid);
    let groups = match (group, &account) {
        (None, Some(account)) => accounts.groups_of(&account.name).map_err(unread)?,
        _ => Vec::new(),
    };
    let home = account.and_then(|account| account.home);
    let gid = match group {
        None => own_gid,
        Some(group) => match id(group)? {
            Some(gid) => gid,
            None => {
                accounts.group(group).map_err(unread)?.ok_or_else(|| none("exec.with.group.none", group))?
            }
        },
    };
    let home = home.unwrap_or_else(|| if uid == 0 { "/root" } else { "/" }.into());
    Ok(NamedUser { ids: RunAs { uid, gid }, groups, home })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::host::untrusted::UntrustedRoot;

    #[test]
    fn a_file_with_variables_is_bounded_and_each_record_is_checked() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("env");
        let read = |content: &[u8]| {
            fs::write(&path, content).unwrap();
            variables(std::slice::from_ref(&path), &[]).map_err(|error| error.what)
        };
        assert_eq!(read(b"A=1\0B=two\nlines\0=C:=x\0").unwrap(), ["A=1", "B=two\nlines"]);
        assert_eq!(read(b"A=1\n# no\n\nB=2").unwrap(), ["A=1", "B=2"]);
        assert_eq!(read(b"A B=1\0").unwrap(), ["A B=1"]);
        // One NUL byte in a file of lines.
        for wrong in [&b"A=1\0\nB=2\n"[..], b"A\0", b"A\nB=1\0", b"A=1\n\0B"] {
            assert!(read(wrong).is_err_and(|what| what.contains("record")), "{wrong:?}");
        }
        assert!(read(&vec![b'x'; 7 << 20]).is_err());
        let device = |path: &str| variables(&[path.into()], &[]);
        assert_eq!(device("/dev/null").unwrap(), [""; 0]);
        for endless in ["/dev/zero", "/dev/urandom", "/dev/full"] {
            assert!(device(endless).is_err(), "{endless}");
        }
    }

    /// An evil /etc/passwd that gives each name, also those that are numbers, the ID 0.
    #[test]
    fn a_number_is_never_looked_up() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("etc")).unwrap();
        let names =
            ["1", "01", "1:1", "4294967296", "2147483648", "-1", "0x0", "1 ", "99999999999999", "+1", " 1"];
        let lines: String = names.iter().map(|name| format!("{name}:x:0:0::/:/bin/sh\n")).collect();
        fs::write(root.path().join("etc/passwd"), format!("{lines}bob:x:1001:1002::/home/bob:\n")).unwrap();
        fs::write(root.path().join("etc/group"), "1:x:0:bob\nstaff:x:50:alice,bob\nwheel:x:0:1,01\n")
            .unwrap();
        let accounts = Accounts::of(UntrustedRoot::open(root.path()).unwrap());
        let user = |user: &str| user_of(user.as_ref(), &accounts).map(|user| (user.ids.uid, user.ids.gid));
        let groups = |user: &str| user_of(user.as_ref(), &accounts).unwrap().groups;
        for name in names {
            match user(name) {
                Ok((uid, gid)) => {
                    // No account has this ID, so the group is 0, as Docker's, unless it is named.
                    let own_gid = u32::from(name == "1:1");
                    let digits = name.trim_start_matches(['+', '0']);
                    assert!(
                        uid != 0 && gid == own_gid && digits.starts_with(&uid.to_string()),
                        "{name} {uid}"
                    )
                }
                Err(error) => assert!(error.what.contains("ID"), "{name}: {error}"),
            }
        }
        assert_eq!(user("2147483648"), Ok((2_147_483_648, 0)));
        for (written, ids) in
            [("007", (7, 0)), ("+7:0050", (7, 50)), ("01001:staff", (1001, 50)), ("00", (0, 0))]
        {
            assert_eq!(user(written), Ok(ids), "{written}");
        }
        assert_eq!(user("01001"), user("1001"));
        assert_eq!(user("bob"), Ok((1001, 1002)));
        assert_eq!(user("bob:staff"), Ok((1001, 50)));
        assert_eq!(user("7:staff"), Ok((7, 50)));
        assert_eq!(user("bob:7"), Ok((1001, 7)));
        // A group alone is one of root, as for Docker.
        assert_eq!(user(":staff"), Ok((0, 50)));
        assert_eq!(user(":"), Ok((0, 0)));
        assert_eq!(user("bob:"), Ok((1001, 1002)));
        assert_eq!(groups("bob:"), groups("bob"));
        for wrong in ["", ":none", "alice", "bob:none", "bob:staff:7", "1:0x1", "bob:-1"] {
            assert!(user(wrong).is_err(), "{wrong}");
        }
        assert_eq!(user_of("bob".as_ref(), &accounts).unwrap().home, Path::new("/home/bob"));
        assert_eq!(user_of("7".as_ref(), &accounts).unwrap().home, Path::new("/"));
        // Only an account has the groups that list it, by its name or its ID, and only where no group is named.
        assert_eq!(user("1001"), Ok((1001, 1002)));
        for bob in ["bob", "1001"] {
            assert_eq!(groups(bob), [0, 50], "{bob}");
        }
        for other in ["1", "bob:staff", "bob:1002", "1001:1002"] {
            assert_eq!(groups(other), [0; 0], "{other}");
        }
    }
}
