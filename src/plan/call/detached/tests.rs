use super::*;

#[test]
fn calls_are_printed_with_what_their_descriptors_were_opened_on() {
    let call = DetachedMountCall::Attach { mount: Held::Mount, at: Held::Root, path: "/srv".into() };
    let text = "move_mount(<mount>, \"\", <root/srv>, \"\", MOVE_MOUNT_F_EMPTY_PATH|MOVE_MOUNT_T_EMPTY_PATH)";
    assert_eq!(call.to_string(), text);
    let call = DetachedMountCall::MakeDirectory { at: Held::Root, path: "/home/me".into(), mode: 0o755 };
    assert_eq!(call.to_string(), "mkdirat(<root/home>, \"me\", 0755)");
    let call = DetachedMountCall::MakePlace { at: Held::Root, path: "/app/x".into(), directory: true };
    assert_eq!(call.to_string(), "mkdirat(<root/app>, \"x\", 0755)  [EEXIST counts as success]");
    assert_eq!(
        Attributes::PROTECTED.to_string(),
        "MOUNT_ATTR_RDONLY|MOUNT_ATTR_NOSUID|MOUNT_ATTR_NODEV|MOUNT_ATTR_NOEXEC"
    );
}
