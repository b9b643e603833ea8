//! The nameservers of a container on a bridge.
//!
//! Kinds of what the host's /etc/resolv.conf can have: a nameserver on a loopback address (127.0.0.53, 127.1, ::1,
//! ::ffff:127.0.0.1, 0.0.0.0, a link-local address with its scope), with blanks or tabs, with a comment, beside others or
//! alone; none at all; bytes that are no text. The unit tests of src/host/nameservers.rs have each notation.

mod support;

use support::lab::in_lab;
use support::{is_root, text};

/// What a container on the bridge has in /etc/resolv.conf, and what `sandbox` prints. `own` is the host's file, for
/// printf(1); `systemd` is that of systemd-resolved, if it has any.
fn inside(own: &str, systemd: Option<&str>, spec: &str) -> (String, String) {
    let systemd = systemd.map_or_else(String::new, |content| {
        format!("mkdir -p /run/systemd/resolve; printf '{content}' > /run/systemd/resolve/resolv.conf;")
    });
    let output = in_lab(&format!(
        r#"printf '{own}' > /run/own; mount --bind /run/own /etc/resolv.conf; {systemd}
        printf '{spec}net: {{ mode: bridge }}\ncommand: [cat, /etc/resolv.conf]\n' > /run/box.yaml
        $S run /run/box.yaml"#
    ));
    let errors = text(&output.stderr).split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(output.status.success(), "{own}: {errors}");
    (text(&output.stdout), errors)
}

const ROOTFS: &str = "rootfs: host\\n";

/// An ordinary user gets /etc as it is if something is mounted below it, as here on /etc/resolv.conf.
fn has_own_etc() -> bool {
    is_root()
}

#[test]
fn a_nameserver_on_loopback_is_left_out_and_named() {
    if !has_own_etc() {
        return;
    }
    let own = r"search lan \377\nnameserver\t 127.0.0.53 # stub\nnameserver ::1\nnameserver 10.0.0.9\noptions edns0\n";
    let (file, errors) = inside(own, None, ROOTFS);
    assert_eq!(file, "search lan \u{fffd}\nnameserver 10.0.0.9\noptions edns0\n");
    assert!(errors.contains("nameserver 127.0.0.53, ::1 is left out"), "{errors}");
    assert!(!errors.contains("names cannot be resolved"), "{errors}");
    let (file, errors) = inside(r"nameserver ::ffff:127.0.0.1\nnameserver fe80::1%%eth0\n", None, ROOTFS);
    assert_eq!(file, "");
    assert!(errors.contains("::ffff:127.0.0.1, fe80::1%eth0 is left out"), "{errors}");
    assert!(errors.contains("names cannot be resolved"), "{errors}");
    let (file, errors) = inside(r"nameserver 10.0.0.9\n", Some(r"nameserver 10.0.0.1\n"), ROOTFS);
    assert!(file == "nameserver 10.0.0.9\n" && !errors.contains("nameserver"), "{file}{errors}");
    let (_, errors) = inside("", None, ROOTFS);
    assert!(errors.contains("names cannot be resolved"), "{errors}");
}

/// With a root filesystem of its own, and with that of the host.
#[test]
fn the_servers_that_systemd_resolved_asks_are_taken_instead() {
    for spec in [ROOTFS, ""].into_iter().skip(usize::from(!has_own_etc())) {
        for own in [
            r"nameserver 127.0.0.53\noptions edns0 trust-ad\n",
            r"  nameserver \t ::1\nnameserver 10.0.0.9\n",
        ] {
            let (file, errors) = inside(own, Some(r"nameserver 10.0.0.1\nsearch lan\n"), spec);
            assert_eq!(file, "nameserver 10.0.0.1\nsearch lan\n", "{spec}{own}: {errors}");
        }
    }
}

/// The host's file stays as it is where there is no root filesystem of its own: then only a message can help.
#[test]
fn without_a_root_file_system_the_servers_that_are_not_reached_are_named() {
    for (own, named) in [
        (r"nameserver 127.0.0.53\n", "nameserver 127.0.0.53 of"),
        (r"nameserver\t127.1\nnameserver 10.0.0.9\n", "nameserver 127.1 of"),
        (r"nameserver ::1\nnameserver 0.0.0.0\n", "nameserver ::1, 0.0.0.0 of"),
    ] {
        let (_, errors) = inside(own, Some(r"nameserver 127.0.0.1\n"), "");
        assert!(errors.contains(named), "{own}: {errors}");
    }
    let (_, errors) = inside(r"nameserver 10.0.0.9\n", None, "");
    assert!(!errors.contains("nameserver"), "{errors}");
}

#[cfg(feature = "images")]
#[test]
fn a_container_of_an_image_names_them_too() {
    if !has_own_etc() {
        return;
    }
    let output = in_lab(
        r#"printf 'nameserver 127.0.0.53\n' > /run/own; mount --bind /run/own /etc/resolv.conf
        export SANDBOX_HOME=/run/home; $S image from-host tool cat > /dev/null
        $S run --rm --network bridge tool cat /etc/resolv.conf"#,
    );
    let errors = text(&output.stderr).split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(errors.contains("nameserver 127.0.0.53 is left out"), "{output:?}");
}
