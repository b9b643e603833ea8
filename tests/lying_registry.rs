//! `pull` from a registry that lies: no blob ever gets a name that is not its digest, each error says what is wrong, and
//! nothing is left but the beginning of a download that can go on.
//!
//! Other inputs of the same kind as the ones here:
//! - each answer cut off at each byte, of each status, slow or endless in its header or body.
//! - documents that are well-formed but about other contents, with other media types, in other places.
#![cfg(feature = "images")]

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::net::{Shutdown, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::sleep;
use std::time::Duration;

use serde_json::{Value, json};
use support::image::{Image, Layer, digest};
use support::kept::KeptHome;
use support::lab::ran_with_loopback;
use support::registry::{
    Heard, Honest, Liar, answer, blobs_are_right, not_pulled, pulled, pulls, whole_answer,
};
use support::{is_root, sample, skip, text};

const FLAGS: [&str; 6] = ["pull", "-q", "--retry", "0", "--timeout", "2s"];

fn honest() -> Honest {
    // A layer that does not become small: an interrupted download has a beginning.
    let mut seed = 1_u32;
    let mut next = || {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        char::from(b'a' + (seed >> 24) as u8 % 26)
    };
    let noise: String = (0..300_000).map(|_| next()).collect();
    let layers = [Layer::new().file("a", "a").file("noise", &noise), Layer::new().file("b", "b")];
    Honest::of(&Image::of(&layers).oci("v1"))
}

/// Tries to pull, in vain. Returns the message.
fn refused(home: &KeptHome, liar: &Liar) -> String {
    refused_as(home, &liar.name("x:1"))
}

fn refused_as(home: &KeptHome, name: &str) -> String {
    let message = not_pulled(home, &[&FLAGS[..], &[name]].concat());
    blobs_are_right(home);
    assert_eq!(home.out(&["images", "-q", "-a"]), "", "{message}");
    message
}

/// What an interrupted pull has left for the next one.
fn left(home: &KeptHome) -> Vec<String> {
    let entries = fs::read_dir(home.path().join("images/ingest")).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().into_string().unwrap()).collect()
}

/// Nothing at all is left.
fn is_clean(home: &KeptHome, what: &str) {
    assert_eq!((left(home), blobs_are_right(home)), (vec![], 0), "{what}");
    for entry in fs::read_dir(home.path().join("layers")).into_iter().flatten().flatten() {
        // The directories of ID maps stay.
        let name = entry.file_name().into_string().unwrap();
        let inner = fs::read_dir(entry.path()).unwrap().count();
        assert!(name.starts_with("users-") && inner == 0, "{what}: {name} {inner}");
    }
}

#[test]
fn content_that_is_not_what_was_asked_for_is_refused() {
    if ran_with_loopback("content_that_is_not_what_was_asked_for_is_refused") {
        return;
    }
    let home = KeptHome::new();
    let good = honest();
    let liar = Liar::start(|_, stream| answer(stream, 404, &[], b""));
    let layer = good.layers()[0].clone();
    let manifest: Value = serde_json::from_slice(&good.manifest).unwrap();
    let config = manifest["config"]["digest"].as_str().unwrap().to_owned();
    type Lie = Box<dyn Fn(&Heard, Vec<u8>) -> Vec<u8> + Send + Sync>;
    let of = |part: &str, lie: Lie| -> Lie {
        let part = part.to_owned();
        Box::new(move |heard, right| if heard.target.contains(&part) { lie(heard, right) } else { right })
    };
    let changed = |manifest: &Value| manifest.to_string().into_bytes();
    let with_manifest = |manifest: Value| -> Lie {
        let bytes = changed(&manifest);
        let media_type = good.media_type.clone();
        of("/manifests/", Box::new(move |_, _| whole_answer(200, &[("Content-Type", &media_type)], &bytes)))
    };
    let mut small = manifest.clone();
    small["layers"][0]["size"] = json!(10);
    let mut large = manifest.clone();
    large["layers"][0]["size"] = json!(u64::MAX / 2);
    let mut swapped = manifest.clone();
    swapped["layers"].as_array_mut().unwrap().swap(0, 1);
    let mut short = manifest.clone();
    short["layers"].as_array_mut().unwrap().pop();
    let mut foreign = manifest.clone();
    foreign["layers"][0]["mediaType"] = json!("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip");
    foreign["layers"][0]["urls"] = json!([format!("http://{}/steal", liar.name(""))]);
    let mut odd = manifest.clone();
    odd["layers"][0]["digest"] = json!("sha256:../../../../etc/passwd");
    let mut negative = manifest.clone();
    negative["layers"][0]["size"] = json!(-1);
    let flip = |right: Vec<u8>| {
        let mut right = right;
        *right.last_mut().unwrap() ^= 1;
        right
    };
    let own = good.clone();
    let lies: Vec<(&str, Lie, &str)> = vec![
        ("another layer", of(&layer, Box::new(move |_, right| flip(right))), "Expected the digest"),
        ("another config", of(&config, Box::new(move |_, right| flip(right))), "Expected the digest"),
        (
            "a layer for another",
            of(&layer, Box::new(move |_, _| whole_answer(200, &[], &own.blobs[&own.layers()[1]]))),
            "bytes, not",
        ),
        (
            "a digest that is not the manifest's",
            of(
                "/manifests/",
                Box::new({
                    let good = good.clone();
                    move |_, _| {
                        whole_answer(
                            200,
                            &[("Content-Type", &good.media_type), ("Docker-Content-Digest", &digest(b"x"))],
                            &good.manifest,
                        )
                    }
                }),
            ),
            "Expected the digest",
        ),
        (
            "a page",
            of(
                "/manifests/",
                Box::new(|_, _| whole_answer(200, &[("Content-Type", "text/html")], b"<html>")),
            ),
            "no image that can be used",
        ),
        (
            "a manifest as a page",
            of(
                "/manifests/",
                Box::new({
                    let good = good.clone();
                    move |_, _| whole_answer(200, &[("Content-Type", "text/html")], &good.manifest)
                }),
            ),
            "announced as text/html",
        ),
        (
            "an index that is a manifest",
            of(
                "/manifests/",
                Box::new({
                    let good = good.clone();
                    move |_, _| {
                        whole_answer(
                            200,
                            &[("Content-Type", "application/vnd.oci.image.index.v1+json")],
                            &good.manifest,
                        )
                    }
                }),
            ),
            "announced as",
        ),
        (
            "no media type",
            of(
                "/manifests/",
                Box::new({
                    let good = good.clone();
                    move |_, _| whole_answer(200, &[], &good.manifest)
                }),
            ),
            "no image that can be used",
        ),
        ("a small size", with_manifest(small), "bytes, not 10"),
        ("a large size", with_manifest(large), "bytes, not"),
        ("swapped layers", with_manifest(swapped), "Its files have the digest"),
        ("too few layers", with_manifest(short), "its config names 2"),
        ("a foreign layer", with_manifest(foreign), "may not be distributed"),
        ("a path as a digest", with_manifest(odd), "invalid digest"),
        (
            "a negative size",
            with_manifest(negative),
            "layers[0].size: expected a whole number, 0 or more, found -1",
        ),
        (
            "a huge document",
            of(
                "/manifests/",
                Box::new(|_, _| {
                    whole_answer(
                        200,
                        &[
                            ("Content-Type", "application/vnd.oci.image.manifest.v1+json"),
                            ("Content-Length", "99999999999"),
                        ],
                        b"{",
                    )
                }),
            ),
            "more than 4 MiB",
        ),
        (
            "deep JSON",
            of(
                "/manifests/",
                Box::new(|_, _| {
                    whole_answer(
                        200,
                        &[("Content-Type", "application/vnd.oci.image.manifest.v1+json")],
                        &b"[".repeat(1 << 20),
                    )
                }),
            ),
            "no image that can be used",
        ),
        (
            "a length that lies",
            of(&layer, Box::new(|_, _| whole_answer(200, &[("Content-Length", "5")], b"12345"))),
            "bytes, not",
        ),
        (
            "a redirect to nowhere",
            of(&layer, Box::new(|_, _| whole_answer(307, &[("Location", "ftp://x/y")], b""))),
            "is not followed",
        ),
        (
            "a redirect without a place",
            of(&layer, Box::new(|_, _| whole_answer(307, &[], b""))),
            "is not followed",
        ),
        (
            "a redirect to itself",
            of(&layer, Box::new(|heard, _| whole_answer(307, &[("Location", &heard.target)], b""))),
            "more than 5 redirects",
        ),
        (
            "a redirect to another machine without TLS",
            of(&layer, Box::new(|_, _| whole_answer(307, &[("Location", "http://192.0.2.1/x")], b""))),
            "is not followed",
        ),
        (
            "a part that was not asked for",
            of(&layer, Box::new(|_, _| whole_answer(206, &[("Content-Range", "bytes 5-9/10")], b"12345"))),
            "Expected the part from byte 0",
        ),
        (
            "a header without an end",
            of(&layer, Box::new(|_, _| [b"HTTP/1.1 200 OK\r\nX: ".to_vec(), b"x".repeat(1 << 20)].concat())),
            "more than 64 KiB",
        ),
        ("no HTTP", of(&layer, Box::new(|_, _| b"SSH-2.0-OpenSSH\r\n".to_vec())), "has failed"),
    ];
    for (name, lie, expected) in lies {
        let good = good.clone();
        liar.answers(move |heard, stream| {
            let _ = stream.write_all(&lie(heard, good.right(heard)));
        });
        let message = refused(&home, &liar);
        assert!(message.contains(expected), "{name}: {message}");
        if name != "no HTTP" {
            is_clean(&home, name);
        }
        assert!(liar.heard().iter().all(|heard| !heard.target.contains("steal")), "{name}");
    }
    // By digest, another manifest is never taken.
    let good2 = good.clone();
    liar.answers(move |heard, stream| {
        let _ = stream.write_all(&good2.right(heard));
    });
    let message = refused_as(&home, &liar.name(&format!("x@{}", digest(b"another"))));
    assert!(message.contains("Expected the digest"), "{message}");
    pulled(&home, &[&FLAGS[..], &[&liar.name("x:1")]].concat());
    home.out(&["image", "verify", &liar.name("x:1")]);
}

#[test]
fn each_status_ends_the_pull_with_an_error_that_names_it() {
    if ran_with_loopback("each_status_ends_the_pull_with_an_error_that_names_it") {
        return;
    }
    let home = KeptHome::new();
    let good = honest();
    let liar = Liar::start(|_, _| ());
    let statuses =
        [201, 204, 300, 400, 401, 403, 404, 405, 410, 416, 418, 429, 451, 500, 501, 502, 503, 504, 599];
    for status in sample(4, statuses) {
        for part in ["/manifests/", "/blobs/"] {
            let good = good.clone();
            liar.answers(move |heard, stream| {
                let body = br#"{"errors":[{"code":"DENIED","message":"no, \u001b[31mnever"}]}"#;
                let _ = stream.write_all(&match heard.target.contains(part) {
                    true => whole_answer(status, &[], body),
                    false => good.right(heard),
                });
            });
            let message = refused(&home, &liar);
            let is_named = message.contains(&status.to_string())
                || message.contains("denied")
                || message.contains("not found");
            assert!(is_named && !message.contains('\x1b'), "{status} {part}: {message}");
            assert_eq!(left(&home), Vec::<String>::new(), "{status} {part}");
        }
    }
}

#[test]
fn an_answer_that_is_cut_off_anywhere_is_an_error_and_the_rest_is_pulled_later() {
    if ran_with_loopback("an_answer_that_is_cut_off_anywhere_is_an_error_and_the_rest_is_pulled_later") {
        return;
    }
    let good = honest();
    let layer = good.layers()[0].clone();
    let manifest: Value = serde_json::from_slice(&good.manifest).unwrap();
    let config = manifest["config"]["digest"].as_str().unwrap().to_owned();
    let liar = Liar::start(|_, _| ());
    for part in ["/manifests/".to_owned(), config, layer] {
        let whole = good
            .right(&Heard { target: format!("/v2/x/{part}/{part}").replace("//", "/"), ..Heard::default() });
        let whole = if part.contains("manifests") {
            good.right(&Heard { target: "/v2/x/manifests/1".into(), ..Heard::default() })
        } else {
            whole
        };
        let step = (whole.len() / 24).max(1);
        let places: Vec<usize> = (0..whole.len()).step_by(step).chain([whole.len() - 1]).collect();
        for at in sample(4, places) {
            let home = KeptHome::new();
            let (good2, part2) = (good.clone(), part.clone());
            liar.answers(move |heard, stream| {
                let mut right = good2.right(heard);
                if heard.target.contains(&part2) {
                    right.truncate(at);
                }
                let _ = stream.write_all(&right);
            });
            refused(&home, &liar);
            let good2 = good.clone();
            liar.answers(move |heard, stream| {
                let _ = stream.write_all(&good2.right(heard));
            });
            // The download of another blob may have been given up meanwhile.
            let partial = part.strip_prefix("sha256:").unwrap_or("none");
            let had: u64 = left(&home)
                .iter()
                .filter(|name| name.contains(partial))
                .map(|name| fs::metadata(home.path().join("images/ingest").join(name)).unwrap().len())
                .sum();
            pulled(&home, &[&FLAGS[..], &[&liar.name("x:1")]].concat());
            // What was there was not asked for again.
            let ranges: Vec<String> =
                liar.heard().iter().filter_map(|heard| Some(heard.header("range")?.to_owned())).collect();
            let expected = if had > 0 { vec![format!("bytes={had}-")] } else { vec![] };
            assert_eq!(ranges, expected, "{part} cut at {at}");
            home.out(&["image", "verify", &liar.name("x:1")]);
            blobs_are_right(&home);
            assert_eq!(left(&home), Vec::<String>::new());
        }
    }
}

#[test]
fn a_rest_that_is_not_the_right_one_is_not_taken() {
    if ran_with_loopback("a_rest_that_is_not_the_right_one_is_not_taken") {
        return;
    }
    let good = honest();
    let layer = good.layers()[0].clone();
    let liar = Liar::start(|_, _| ());
    type Rest = fn(usize, &[u8]) -> Vec<u8>;
    let rests: [(&str, Rest); 6] = [
        ("another place", |start, blob| {
            let range = format!("bytes {}-{}/{}", start + 1, blob.len() - 1, blob.len());
            whole_answer(206, &[("Content-Range", &range)], &blob[start + 1..])
        }),
        ("another size", |start, blob| {
            let range = format!("bytes {start}-{}/{}", blob.len() - 1, blob.len() + 1);
            whole_answer(206, &[("Content-Range", &range)], &blob[start..])
        }),
        ("no place", |start, blob| whole_answer(206, &[], &blob[start..])),
        ("other content", |start, blob| {
            let range = format!("bytes {start}-{}/{}", blob.len() - 1, blob.len());
            whole_answer(206, &[("Content-Range", &range)], &vec![0; blob.len() - start])
        }),
        ("no such range", |_, _| whole_answer(416, &[], b"")),
        ("the whole", |_, blob| whole_answer(200, &[], blob)),
    ];
    for (name, rest) in rests {
        let home = KeptHome::new();
        let (good2, layer2) = (good.clone(), layer.clone());
        liar.answers(move |heard, stream| {
            let mut right = good2.right(heard);
            if heard.target.contains(&layer2) {
                right.truncate(right.len() / 2);
            }
            let _ = stream.write_all(&right);
        });
        refused(&home, &liar);
        let partial = format!("partial-{}", layer.strip_prefix("sha256:").unwrap());
        assert_eq!(left(&home), [partial], "{name}");
        let (good2, layer2) = (good.clone(), layer.clone());
        liar.answers(move |heard, stream| {
            let start =
                heard.header("range").and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-'));
            let _ = stream.write_all(&match start {
                Some(start) if heard.target.contains(&layer2) => {
                    rest(start.parse().unwrap(), &good2.blobs[&layer2])
                }
                _ => good2.right(heard),
            });
        });
        // It asks again, for the whole.
        pulled(&home, &["pull", "-q", "--retry", "1", "--retry-delay", "1s", &liar.name("x:1")]);
        home.out(&["image", "verify", &liar.name("x:1")]);
        blobs_are_right(&home);
        assert_eq!(left(&home), Vec::<String>::new(), "{name}");
    }
}

/// The last byte of one layer arrives when the download of the other one has failed.
#[test]
fn a_layer_that_is_complete_when_another_one_fails_is_not_downloaded_again() {
    if ran_with_loopback("a_layer_that_is_complete_when_another_one_fails_is_not_downloaded_again") {
        return;
    }
    let good = honest();
    let [first, second] = [0, 1].map(|number| good.layers()[number].clone());
    let home = KeptHome::new();
    let failed = Arc::new(AtomicBool::new(false));
    let (good2, first2, second2) = (good.clone(), first.clone(), second.clone());
    let liar = Liar::start(move |heard, stream| {
        let mut right = good2.right(heard);
        let mut rest = Vec::new();
        if heard.target.contains(&first2) {
            right.truncate(right.len() / 2);
        }
        if heard.target.contains(&second2) {
            rest = right.split_off(right.len() - 1);
        }
        let _ = stream.write_all(&right);
        if heard.target.contains(&first2) {
            let _ = stream.shutdown(Shutdown::Both);
            failed.store(true, Ordering::Relaxed);
        }
        if !rest.is_empty() {
            while !failed.load(Ordering::Relaxed) {
                sleep(Duration::from_millis(10));
            }
            // The other thread of the client sees the end meanwhile.
            sleep(Duration::from_millis(500));
            let _ = stream.write_all(&rest);
        }
    });
    refused(&home, &liar);
    let hex = |digest: &str| digest.strip_prefix("sha256:").unwrap().to_owned();
    assert_eq!(left(&home), [format!("partial-{}", hex(&first))]);
    assert!(home.path().join("images/blobs/sha256").join(hex(&second)).exists());
    let good2 = good.clone();
    liar.answers(move |heard, stream| {
        let _ = stream.write_all(&good2.right(heard));
    });
    pulled(&home, &[&FLAGS[..], &[&liar.name("x:1")]].concat());
    assert!(!liar.heard().iter().any(|heard| heard.target.contains(&second)));
    assert_eq!(left(&home), Vec::<String>::new());
}

/// Two commands that download the same blob at the same time have a file each. Of those that nobody downloads any more, the
/// longest one is used, and the others are removed.
#[test]
fn a_blob_has_at_most_one_beginning() {
    if ran_with_loopback("a_blob_has_at_most_one_beginning") {
        return;
    }
    let good = honest();
    let layer = good.layers()[0].clone();
    let blob = good.blobs[&layer].clone();
    let cut = |liar: &Liar| {
        let (good, layer) = (good.clone(), layer.clone());
        liar.answers(move |heard, stream| {
            let mut right = good.right(heard);
            if heard.target.contains(&layer) {
                right.truncate(right.len() - right.len() / 4);
            }
            let _ = stream.write_all(&right);
        });
    };
    let liar = Liar::start(|_, _| ());
    let home = KeptHome::new();
    cut(&liar);
    refused(&home, &liar);
    let usual = format!("partial-{}", layer.strip_prefix("sha256:").unwrap());
    assert_eq!(left(&home), std::slice::from_ref(&usual));
    let file = |name: &str| home.path().join("images/ingest").join(name);
    // Another command that was killed has left a shorter one, and one a longer one.
    let write = |name: &str, length: usize| {
        fs::write(file(name), &blob[..length]).unwrap();
        fs::set_permissions(file(name), fs::Permissions::from_mode(0o600)).unwrap();
    };
    let longest = blob.len() - 100;
    for (short, long) in [("-00000001", "-00000002"), ("-00000002", "-00000001")] {
        write(&format!("{usual}{short}"), 10);
        write(&format!("{usual}{long}"), longest);
        cut(&liar);
        refused(&home, &liar);
        assert_eq!(left(&home).len(), 1, "{:?}", left(&home));
        let range = |heard: &Heard| heard.header("range").map(str::to_owned);
        let ranges: Vec<String> = liar.heard().iter().filter_map(range).collect();
        assert_eq!(ranges.len(), 1, "{ranges:?}");
        assert_eq!(ranges[0], format!("bytes={longest}-"));
        fs::remove_file(file(&left(&home)[0])).unwrap();
        write(&usual, 1000);
    }
    // As long as another command downloads the blob, its file is left alone.
    let other = fs::File::open(file(&usual)).unwrap();
    let lock = nix::fcntl::Flock::lock(other, nix::fcntl::FlockArg::LockExclusiveNonblock).unwrap();
    refused(&home, &liar);
    assert_eq!(left(&home).len(), 2, "{:?}", left(&home));
    assert_eq!(fs::metadata(file(&usual)).unwrap().len(), 1000);
    refused(&home, &liar);
    assert_eq!(left(&home).len(), 2, "{:?}", left(&home));
    drop(lock);
    let good2 = good.clone();
    liar.answers(move |heard, stream| {
        let _ = stream.write_all(&good2.right(heard));
    });
    pulled(&home, &[&FLAGS[..], &[&liar.name("x:1")]].concat());
    assert_eq!(left(&home), Vec::<String>::new());
    home.out(&["image", "verify", &liar.name("x:1")]);
}

#[test]
fn a_registry_that_is_too_slow_or_never_ends_is_left() {
    if ran_with_loopback("a_registry_that_is_too_slow_or_never_ends_is_left") {
        return;
    }
    let home = KeptHome::new();
    let good = honest();
    let layer = good.layers()[0].clone();
    let liar = Liar::start(|_, _| ());
    type Slow = fn(&mut TcpStream, &[u8]);
    /// One byte after the other, as long as somebody reads.
    fn drip(stream: &mut TcpStream, bytes: &[u8]) {
        for byte in bytes {
            if stream.write_all(&[*byte]).is_err() {
                return;
            }
            sleep(Duration::from_millis(50));
        }
    }
    let slow: [(&str, Slow, &str); 4] = [
        ("silent", |_, _| sleep(Duration::from_secs(20)), "No data arrived for 2s"),
        ("a slow header", drip, "No data arrived for 2s"),
        (
            "a slow body",
            |stream, right| {
                let head = right.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
                let _ = stream.write_all(&right[..head]);
                drip(stream, &right[head..]);
            },
            "too slowly",
        ),
        (
            "an endless body",
            |stream, _| {
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
                while stream.write_all(&[b"1000\r\n", &[7; 0x1000][..], b"\r\n"].concat()).is_ok() {}
            },
            "bytes, not",
        ),
    ];
    for (name, act, expected) in slow {
        let (good, layer) = (good.clone(), layer.clone());
        liar.answers(move |heard, stream| match heard.target.contains(&layer) {
            true => act(stream, &good.right(heard)),
            false => {
                let _ = stream.write_all(&good.right(heard));
            }
        });
        let message = refused(&home, &liar);
        assert!(message.contains(expected), "{name}: {message}");
    }
}

#[test]
fn a_registry_that_fails_now_and_then_is_asked_again() {
    if ran_with_loopback("a_registry_that_fails_now_and_then_is_asked_again") {
        return;
    }
    let home = KeptHome::new();
    let good = honest();
    // The first request for each content fails, the second is answered.
    let asked = Mutex::new(BTreeSet::new());
    let liar = Liar::start(move |heard, stream| match asked.lock().unwrap().insert(heard.target.clone()) {
        true => answer(stream, 503, &[("Retry-After", "1")], b""),
        false => {
            let _ = stream.write_all(&good.right(heard));
        }
    });
    let output =
        pulls(&home, &["pull", "--explain", "--retry-delay", "1s", &liar.name("x:1")]).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("nanosleep(1.0 s)"), "{}", text(&output.stderr));
    home.out(&["image", "verify", &liar.name("x:1")]);
}

#[test]
fn a_pull_that_is_killed_is_completed_by_the_next_one() {
    if ran_with_loopback("a_pull_that_is_killed_is_completed_by_the_next_one") {
        return;
    }
    let home = KeptHome::new();
    let good = honest();
    // Slow enough to be killed anywhere: each part of an answer takes a while.
    let liar = Liar::start(move |heard, stream| {
        for part in good.right(heard).chunks(40_000) {
            sleep(Duration::from_millis(4));
            if stream.write_all(part).is_err() {
                return;
            }
        }
    });
    let name = liar.name("x:1");
    for moment in sample(25, 0..500_u64) {
        let mut child =
            pulls(&home, &["pull", "-q", &name]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        // Of a debug build, a pull takes about this long.
        sleep(Duration::from_micros(moment * 800));
        child.kill().unwrap();
        child.wait().unwrap();
        blobs_are_right(&home);
        if moment % 5 == 0 {
            pulled(&home, &["pull", "-q", &name]);
            home.out(&["image", "verify", &name]);
            assert_eq!(left(&home), Vec::<String>::new(), "killed after {} us", moment * 800);
            home.out(&["rmi", &name]);
        }
    }
    pulled(&home, &["pull", "-q", &name]);
    home.out(&["rmi", &name]);
    is_clean(&home, "after all");
}

#[test]
fn a_full_disk_ends_the_pull_and_gets_its_room_back() {
    let test = "a_full_disk_ends_the_pull_and_gets_its_room_back";
    // Also an ordinary user is root in the namespaces with loopback.
    if !is_root() {
        return skip(test, "machine: only root can mount a small filesystem; the run as root holds it");
    }
    if ran_with_loopback(test) {
        return;
    }
    let home = KeptHome::new();
    let good = honest();
    let liar = Liar::start(move |heard, stream| {
        let _ = stream.write_all(&good.right(heard));
    });
    fs::create_dir_all(home.path()).unwrap();
    let script = r#"
        mount -t tmpfs -o size=$1k,mode=700 tmpfs "$SANDBOX_HOME" || exit 9
        "$0" pull -q "$2" 2>&1; echo "status $?"
        find "$SANDBOX_HOME" -type f -size +8k
        mount -o remount,size=16m "$SANDBOX_HOME"
        "$0" pull -q "$2" 2>&1; echo "status $?"; "$0" image verify "$2" >/dev/null && echo verified"#;
    // The layer has about 190 KiB, and its files 300 KiB.
    for size in ["64", "160", "300"] {
        let command = pulls(&home, &[]);
        let mut unshare = Command::new("unshare");
        unshare
            .args(["--mount", "sh", "-c", script])
            .arg(command.get_program())
            .args([size, &liar.name("x:1")]);
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => unshare.env(name, value),
                None => unshare.env_remove(name),
            };
        }
        let printed = text(&unshare.output().unwrap().stdout);
        let lines: Vec<&str> = printed.lines().collect();
        assert!(printed.contains("ENOSPC") && lines.contains(&"status 1"), "{size}: {printed}");
        assert!(
            !lines.iter().any(|line| line.starts_with(home.path().to_str().unwrap())),
            "{size}: {printed}"
        );
        assert_eq!(&lines[lines.len() - 2..], ["status 0", "verified"], "{size}: {printed}");
    }
}
