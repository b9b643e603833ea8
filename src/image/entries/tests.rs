use super::*;

/// A header and its content.
fn member(name: &str, kind: u8, content: &[u8], change: impl FnOnce(&mut tar::Header)) -> Vec<u8> {
    let mut header = tar::Header::new_ustar();
    header.set_path(name).unwrap();
    header.set_size(content.len() as u64);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(1);
    header.set_entry_type(tar::EntryType::new(kind));
    change(&mut header);
    header.set_cksum();
    let mut all = header.as_bytes().to_vec();
    all.extend(content);
    all.resize(all.len().next_multiple_of(BLOCK), 0);
    all
}

fn file(name: &str, content: &[u8]) -> Vec<u8> {
    member(name, b'0', content, |_| ())
}

fn pax(records: &[(&str, &str)]) -> Vec<u8> {
    let record = |(key, value): &(&str, &str)| {
        let rest = key.len() + value.len() + 3;
        let length = (rest + 1..rest + 8).find(|all| all.to_string().len() + rest == *all).unwrap();
        format!("{length} {key}={value}\n")
    };
    member("pax", b'x', records.iter().map(record).collect::<String>().as_bytes(), |_| ())
}

/// The names and contents.
fn read(archive: &[u8]) -> Result<Vec<(String, Vec<u8>)>, Unreadable> {
    let mut entries = ArchiveEntries::new(archive);
    let mut all = Vec::new();
    while let Some(entry) = entries.next_entry()? {
        let mut content = Vec::new();
        entries.read_to_end(&mut content)?;
        all.push((String::from_utf8_lossy(&entry.name).into_owned(), content));
    }
    entries.finish()?;
    Ok(all)
}

fn names(archive: &[u8]) -> Result<Vec<String>, Unreadable> {
    Ok(read(archive)?.into_iter().map(|(name, _)| name).collect())
}

#[test]
fn entries_are_read_with_their_content() {
    let archive = [file("a", b"one"), file("b", &[7; 513]), file("c", b""), vec![0; 1024]].concat();
    let all = read(&archive).unwrap();
    let expected = [("a", vec![b'o', b'n', b'e']), ("b", vec![7; 513]), ("c", vec![])];
    assert_eq!(all, expected.map(|(name, content)| (name.to_owned(), content)));
    // The end may be missing, and what follows it is no entry.
    assert_eq!(names(&file("a", b"")).unwrap(), ["a"]);
    assert_eq!(names(&[file("a", b""), vec![0; 512], file("b", b"")].concat()).unwrap(), ["a"]);
    assert_eq!(names(b"").unwrap(), [""; 0]);
}

#[test]
fn a_cut_archive_is_an_error() {
    let archive = [pax(&[("path", "long")]), file("a", b"one")].concat();
    // Only zeros are missing after the content.
    let content = archive.len() - BLOCK + b"one".len();
    for at in 1..archive.len() {
        match at < content {
            true => assert!(read(&archive[..at]).is_err(), "{at}"),
            false => assert_eq!(names(&archive[..at]).unwrap(), ["long"], "{at}"),
        }
    }
}

#[test]
fn a_short_block_of_zeros_is_the_end() {
    let archive = file("a", b"one");
    for zeros in [1, 100, 511, 512, 513, 1023] {
        assert_eq!(names(&[archive.clone(), vec![0; zeros]].concat()).unwrap(), ["a"], "{zeros}");
        assert_eq!(names(&vec![0; zeros]).unwrap(), [""; 0], "{zeros}");
    }
    // A short block with anything else is an error, and so is an end between an extension and its entry.
    let last = [&[0; 510][..], b"b"].concat();
    for rest in [&b"b"[..], &last[..]] {
        assert!(names(&[&archive[..], rest].concat()).is_err());
    }
    assert!(names(&[pax(&[("path", "long")]), vec![0; 100]].concat()).is_err());
}

#[test]
fn the_size_and_the_name_of_pax_win() {
    // As GNU tar and Python read it: the content is that of the PAX size, and no entry hides in it.
    let hidden = file("hidden", b"");
    let large = member("f", b'0', b"", |_| ());
    let archive =
        [pax(&[("size", "512"), ("path", "real")]), large, hidden.clone(), file("last", b"")].concat();
    assert_eq!(names(&archive).unwrap(), ["real", "last"]);
    let archive =
        [pax(&[("size", "0")]), member("f", b'0', b"", |header| header.set_size(512)), hidden].concat();
    assert_eq!(names(&archive).unwrap(), ["f", "hidden"]);
}

#[test]
fn a_long_name_of_gnu_tar_is_read() {
    let long = "x".repeat(300);
    let link = member("././@LongLink", b'L', format!("{long}\0").as_bytes(), |_| ());
    assert_eq!(names(&[link.clone(), file("short", b"")].concat()).unwrap(), [long]);
    let archive = [link, pax(&[("path", "other")]), file("short", b"")].concat();
    assert!(names(&archive).is_err());
}

/// GNU tar and Python write the first 100 bytes of a long name into the header, and so a slash may be the last one of them.
#[test]
fn a_name_that_is_cut_behind_a_slash_is_that_of_a_file() {
    let start = format!("{}/{}/", "d".repeat(49), "e".repeat(49));
    let foreign = format!("{}/{}/", "?".repeat(49), "e".repeat(49));
    let long = format!("{start}file");
    let gnu = || member("././@LongLink", b'L', format!("{long}\0").as_bytes(), |_| ());
    for (extension, cut, kind) in [
        (gnu(), &start, b'0'),
        (pax(&[("path", &long)]), &start, b'0'),
        (pax(&[("path", &long)]), &start, b'7'),
        // Python writes a question mark for each character that is not ASCII.
        (pax(&[("path", &long)]), &foreign, b'0'),
    ] {
        let archive = [extension, with_name(kind, cut.as_bytes(), b"content")].concat();
        assert_eq!(read(&archive).unwrap(), [(long.clone(), b"content".to_vec())]);
    }
    // Python takes this one for a directory.
    let old = member("x", b'0', b"", |header| {
        let fields = header.as_old_mut();
        fields.name.copy_from_slice(start.as_bytes());
        fields.linkflag = [0];
    });
    assert!(names(&[gnu(), old].concat()).is_err());
    // The whole name ends with a slash.
    let slash = format!("{long}/");
    assert!(names(&[pax(&[("path", &slash)]), with_name(b'0', start.as_bytes(), b"")].concat()).is_err());
    assert!(names(&with_name(b'0', start.as_bytes(), b"")).is_err());
}

#[test]
fn fields_of_pax_are_read() {
    let fields = [
        ("uid", "3000000"),
        ("mtime", "-1.5"),
        ("SCHILY.xattr.user.a", "v=1"),
        ("SCHILY.xattr.user.a", "v=2"),
        ("comment", "x"),
    ];
    let archive = [pax(&fields), file("a", b"")].concat();
    let entry = ArchiveEntries::new(&archive[..]).next_entry().unwrap().unwrap();
    assert_eq!((entry.uid, entry.gid, entry.mtime), (3_000_000, 0, (-2, 500_000_000)));
    assert_eq!(entry.attributes, [(b"user.a".to_vec(), b"v=2".to_vec())]);
    for (field, wrong) in [
        ("uid", "-1"),
        ("uid", "4294967296"),
        ("gid", "4294967295"),
        ("size", "x"),
        ("mtime", "1.x"),
        ("size", ""),
    ] {
        assert!(names(&[pax(&[(field, wrong)]), file("a", b"")].concat()).is_err(), "{field}={wrong}");
    }
}

#[test]
fn what_readers_differ_about_is_refused() {
    let wrong_sum = |mut bytes: Vec<u8>| {
        bytes[0] ^= 1;
        bytes
    };
    let huge = |kind| member("e", kind, b"", |header| header.set_size(1 << 30));
    let long = |name: &[u8]| member("././@LongLink", b'L', name, |_| ());
    let with_size = |size: &[u8; 12]| member("a", b'0', b"abc", |header| header.as_old_mut().size = *size);
    for (why, archive) in [
        ("a sparse file of GNU tar", member("s", b'S', b"", |_| ())),
        ("a sparse file of PAX", [pax(&[("GNU.sparse.major", "1")]), file("s", b"")].concat()),
        ("an unknown type", member("v", b'V', b"", |_| ())),
        ("a directory with a content", member("d", b'5', b"x", |_| ())),
        ("a fifo with a content", member("d", b'6', b"x", |_| ())),
        ("a global name", [member("g", b'g', b"10 path=a\n", |_| ()), file("a", b"")].concat()),
        ("a checksum", wrong_sum(file("a", b""))),
        ("a long name of 1 GiB", huge(b'L')),
        ("a PAX header of 1 GiB", huge(b'x')),
        ("no records", [member("x", b'x', b"4 a\n", |_| ()), file("a", b"")].concat()),
        ("a record that is too long", [member("x", b'x', b"99 a=b\n", |_| ()), file("a", b"")].concat()),
        ("a size of 2^63", [pax(&[("size", "9223372036854775808")]), file("a", b"")].concat()),
        ("two PAX headers", [pax(&[("path", "b")]), pax(&[("size", "0")]), file("a", b"")].concat()),
        ("two long names", [long(b"b"), long(b"c"), file("a", b"")].concat()),
        ("a file like a directory", with_name(b'0', b"d/", b"")),
        ("a file like a directory with a content", with_name(0, b"d/", &[0; 512])),
        ("a PAX name like a directory", [pax(&[("path", "d/")]), with_name(0, b"d", b"")].concat()),
        ("a hidden slash", [pax(&[("path", "d")]), with_name(0, b"d/", b"")].concat()),
        ("a size with a sign", with_size(b"+0000000003\0")),
        ("a size above 64 bits", with_size(b"\x80\0\0\x01\0\0\0\0\0\0\0\x03")),
        ("a size with two numbers", with_size(b"0000003 1\0\0\0")),
        ("text", b"<html>".repeat(100)),
    ] {
        assert!(names(&archive).is_err(), "{why}: {:?}", names(&archive));
    }
    let comment = member("g", b'g', b"13 comment=x\n", |_| ());
    assert_eq!(names(&[comment, file("a", b"")].concat()).unwrap(), ["a"]);
}

/// An entry with a name that the `tar` crate does not write.
fn with_name(kind: u8, name: &[u8], content: &[u8]) -> Vec<u8> {
    member("x", kind, content, |header| header.as_old_mut().name[..name.len()].copy_from_slice(name))
}

#[test]
fn a_directory_of_before_posix_is_read() {
    let archive = member("x", b'0', b"", |header| {
        let old = header.as_old_mut();
        old.name[..2].copy_from_slice(b"d/");
        old.linkflag = [0];
    });
    let entry = ArchiveEntries::new(&archive[..]).next_entry().unwrap().unwrap();
    assert_eq!((entry.kind, &*entry.name), (EntryKind::Directory, &b"d/"[..]));
}

#[test]
fn a_file_has_a_limited_number_of_attributes() {
    let names: Vec<String> = (0..1001).map(|number| format!("SCHILY.xattr.user.{number}")).collect();
    let records: Vec<(&str, &str)> = names.iter().map(|name| (&**name, "")).collect();
    let read = |records| self::names(&[pax(records), file("a", b"")].concat());
    assert_eq!(read(&records[1..]).unwrap(), ["a"]);
    assert!(read(&records).unwrap_err().0.contains("1000"));
}

#[test]
fn times_are_read() {
    assert_eq!(time(b"12"), Some((12, 0)));
    assert_eq!(time(b"12.000000001999"), Some((12, 1)));
    assert_eq!(time(b"-0.25"), Some((-1, 750_000_000)));
    for wrong in ["", ".", "-", "1.-", "1e3", "99999999999999999999"] {
        assert_eq!(time(wrong.as_bytes()), None, "{wrong}");
    }
}
