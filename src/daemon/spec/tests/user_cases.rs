use proptest::prelude::*;

use super::*;

const PASSWD: &[u8] = b"root:x:0:0:root:/root:/bin/sh\n\
    broken\n\
    daemon:x:1:1::/usr/sbin:/bin/false\n\
    evil:x:4294967296:0::/:\n\
    worse:x:-1:0::/:\n\
    1234:x:0:0:a name of digits:/root:\n\
    app:x:1000:1001:App:/home/app:/bin/sh\n";
const GROUP: &[u8] =
    b"root:x:0:\nstaff:x:50:app,daemon\nwheel:x:10:root\napps:x:1001:\nvideo:x:44:daemon,app\n";

fn as_user(user: RequestedUser) -> RunAs {
    RunAs {
        user,
        ..RunAs::default()
    }
}

fn find(request: &RunAs, image: &str) -> Result<Identity, UserError> {
    user::resolve(request, image, Some(PASSWD), Some(GROUP))
}

fn ids(identity: &Identity) -> (u32, u32, &[u32]) {
    (identity.uid, identity.gid, &identity.groups)
}

#[test]
fn the_image_user_in_all_its_spellings() {
    let image = |text: &str| find(&RunAs::default(), text);
    assert_eq!(ids(&image("").unwrap()), (0, 0, &[0, 10][..]));
    assert_eq!(
        ids(&image("app").unwrap()),
        (1000, 1001, &[1001, 50, 44][..])
    );
    assert_eq!(
        ids(&image("1000").unwrap()),
        (1000, 1001, &[1001, 50, 44][..])
    );
    assert_eq!(
        ids(&image("app:wheel").unwrap()),
        (1000, 10, &[10, 50, 44][..])
    );
    assert_eq!(ids(&image("app:7").unwrap()), (1000, 7, &[7, 50, 44][..]));
    assert_eq!(ids(&image("7777").unwrap()), (7777, 0, &[0][..]));
    // One of two variables of a build had no value: that half is not given.
    for (text, wanted) in [
        ("1000:", (1000, 1001, &[1001, 50, 44][..])),
        ("app:", (1000, 1001, &[1001, 50, 44][..])),
        ("7777:", (7777, 0, &[0][..])),
        (":7", (0, 7, &[7, 10][..])),
        (":wheel", (0, 10, &[10][..])),
        (":", (0, 0, &[0, 10][..])),
    ] {
        assert_eq!(ids(&image(text).unwrap()), wanted, "{text}");
    }
    assert_eq!(image("app").unwrap().home.as_deref(), Some("/home/app"));
    assert_eq!(image("7777").unwrap().home, None);
}

/// A number beyond the range does not wrap around to root; a name of digits is no name.
#[test]
fn numbers_are_strict() {
    let image = |text: &str| find(&RunAs::default(), text);
    for text in [
        "4294967296",
        "4294967295",
        "99999999999999999999",
        "0x0:",
        "app:4294967296",
    ] {
        assert!(image(text).is_err(), "{text}");
    }
    assert_eq!(image("1234").unwrap().uid, 1234);
    for text in [
        "-1", "+0", " 0", "evil", "worse", "broken", "nobody", "app:nope", ":nope", "nope:",
        "a:b:c", "app::", "::",
    ] {
        assert!(image(text).is_err(), "{text}");
    }
    assert!(find(&as_user(RequestedUser::Id(u32::MAX)), "").is_err());
}

#[test]
fn the_request_overrides_the_image() {
    let request = as_user(RequestedUser::Name("app".into()));
    assert_eq!(
        ids(&find(&request, "daemon").unwrap()),
        (1000, 1001, &[1001, 50, 44][..])
    );
    let request = RunAs {
        group: Some(5),
        ..as_user(RequestedUser::Id(1000))
    };
    assert_eq!(
        ids(&find(&request, "daemon").unwrap()),
        (1000, 5, &[5, 50, 44][..])
    );
    let error = find(&as_user(RequestedUser::Name("ghost".into())), "").unwrap_err();
    assert!(
        error
            .to_string()
            .contains("\"ghost\" is not in the image's /etc/passwd"),
        "{error}"
    );
    let request = RunAs {
        group: Some(5),
        ..RunAs::default()
    };
    assert_eq!(find(&request, "app"), Err(UserError::GroupWithoutUser));
}

/// The primary group is always among the supplementary ones.
#[test]
fn groups_follow_the_policy() {
    let mut request = RunAs {
        supplemental_groups: vec![44, 600, 600],
        ..as_user(RequestedUser::Name("app".into()))
    };
    assert_eq!(find(&request, "").unwrap().groups, [1001, 50, 44, 600]);
    request.policy = GroupsPolicy::Strict;
    assert_eq!(find(&request, "").unwrap().groups, [1001, 44, 600]);
}

#[test]
fn missing_and_huge_files() {
    let number = as_user(RequestedUser::Id(5));
    assert_eq!(
        ids(&user::resolve(&number, "", None, None).unwrap()),
        (5, 0, &[0][..])
    );
    assert!(user::resolve(&as_user(RequestedUser::Name("app".into())), "", None, None).is_err());
    let huge = vec![b'a'; user::MAX_FILE + 1];
    assert!(matches!(
        user::resolve(&number, "", Some(&huge), None),
        Err(UserError::TooLarge {
            file: "/etc/passwd"
        })
    ));
    // Up to 10 MiB are read, with any number of lines and with what stands last: containerd 2.4.2, openUserFile.
    let named = as_user(RequestedUser::Name("app".into()));
    let last = "app:x:1001:50::/home/app:/bin/sh\n";
    for (what, line, bytes, fits) in [
        ("lines of 1 MiB", "u:x:7:7::/:\n", 1 << 20, true),
        ("lines of 5 MiB", "u:x:7:7::/:\n", 5 << 20, true),
        ("empty lines", "\n", 200_000, true),
        ("no more room", "#", user::MAX_FILE - last.len() - 1, true),
        ("a byte too many", "#", user::MAX_FILE - last.len(), false),
    ] {
        let mut file = line.repeat(bytes / line.len());
        if !file.ends_with('\n') {
            file.push('\n');
        }
        file.push_str(last);
        let found = user::resolve(&named, "", Some(file.as_bytes()), None);
        match found {
            Ok(found) => assert!(fits && found.uid == 1001, "{what}: {found:?}"),
            Err(error) => assert!(
                !fits && error.to_string().contains("10 MiB"),
                "{what}: {error}"
            ),
        }
    }
}

proptest! {
    /// Nothing but a spelling of zero, or the name of a user who is root, becomes root.
    #[test]
    fn root_is_never_an_accident(text in "[-+0-9a-z:. ]{1,14}") {
        if let Ok(identity) = find(&RunAs::default(), &text) {
            let user = text.split(':').next().unwrap();
            let zero = user.bytes().all(|byte| byte == b'0');
            prop_assert!(identity.uid != 0 || zero || user == "root", "{text:?}");
            prop_assert_eq!(identity.groups.first(), Some(&identity.gid));
        }
    }

    #[test]
    fn any_bytes_in_the_files(passwd in proptest::collection::vec(any::<u8>(), 0..200), group in proptest::collection::vec(any::<u8>(), 0..200)) {
        let number = as_user(RequestedUser::Id(7));
        let identity = user::resolve(&number, "", Some(&passwd), Some(&group)).unwrap();
        prop_assert_eq!(identity.uid, 7);
    }
}
