//! Links: those that work, those that do not, and what their answers may not tell.

use super::*;

/// What stands outside: a secret, a directory, and prefixes on either side.
fn linked() -> Fixture {
    let ground = Fixture::new();
    ground.file("etc/secret", "secret");
    ground.file("srv/pods/p", "pod");
    ground.file("srv/logs/sub/b", "below");
    ground
}

#[test]
fn a_link_that_ends_inside_any_prefix_works() {
    let ground = linked();
    ground.link("srv/logs/relative", "a");
    ground.link("srv/logs/absolute", ground.path("srv/logs/a"));
    ground.link("srv/logs/dir", "sub");
    ground.link("srv/logs/chain", "relative");
    ground.link("srv/logs/pod", "../pods/p");
    ground.link("srv/logs/pods", ground.path("srv/pods"));
    for access in ground.access(&["srv/logs", "srv/pods"]) {
        for (name, content) in [
            ("srv/logs/relative", "inside"),
            ("srv/logs/absolute", "inside"),
            ("srv/logs/dir/b", "below"),
            ("srv/logs/chain", "inside"),
            ("srv/logs/pod", "pod"),
            ("srv/logs/pods/p", "pod"),
        ] {
            assert_eq!(ground.read(&access, name).as_deref(), Ok(content), "{name}");
        }
    }
}

#[test]
fn a_link_that_leads_outside_is_forbidden_whether_or_not_anything_is_there() {
    let ground = linked();
    for (link, target) in [
        ("passwd", Path::new("/etc/passwd")),
        ("passwd-none", Path::new("/etc/passwd-none")),
        ("up", Path::new("../../etc/secret")),
        ("up-none", Path::new("../../etc/none")),
        ("dir", &ground.path("etc")),
        ("dir-none", &ground.path("etc/none")),
        ("under-a-file", &ground.path("etc/secret/x")),
        ("chain", Path::new("up")),
        ("chain-none", Path::new("up-none")),
        ("sub/../climb", Path::new("sub/../../../etc/none")),
        ("through", Path::new("dir/../none")),
        ("through-none", Path::new("dir-none/../none")),
        ("parent", Path::new("..")),
        ("neighbour", Path::new("../logs-secret")),
        ("endless", Path::new("../../etc/endless")),
        ("long", Path::new(&format!("/{}", "n".repeat(300)))),
    ] {
        ground.link(&format!("srv/logs/{link}"), target);
    }
    ground.link("etc/endless", "endless");
    for access in ground.access(&["srv/logs"]) {
        for name in [
            "passwd",
            "passwd-none",
            "up",
            "up-none",
            "dir",
            "dir/secret",
            "dir/none",
            "dir/secret/x",
            "dir/none/x",
            "dir-none",
            "dir-none/x",
            "under-a-file",
            "chain",
            "chain-none",
            "climb",
            "through",
            "through-none",
            "parent",
            "parent/none",
            "neighbour",
            "neighbour/x",
            "endless",
            "long",
            "passwd/x",
        ] {
            assert_eq!(ground.read(&access, &format!("srv/logs/{name}")), Err(Forbidden), "{name}");
        }
    }
}

#[test]
fn a_magic_link_is_no_way_out() {
    let ground = linked();
    ground.link("srv/logs/magic", "/proc/self/root/etc/passwd");
    ground.link("srv/logs/magic-none", "/proc/self/root/etc/passwd-none");
    ground.link("srv/logs/magic-dir", "/proc/self/root");
    ground.link("srv/logs/descriptor", "/proc/self/fd/0");
    for access in ground.access(&["srv/logs"]) {
        for name in ["magic", "magic-none", "magic-dir/etc/passwd", "magic-dir/none", "descriptor"]
        {
            assert_eq!(ground.read(&access, &format!("srv/logs/{name}")), Err(Forbidden), "{name}");
        }
    }
}

#[test]
fn a_link_that_dangles_or_turns_inside_is_not_found() {
    let ground = linked();
    ground.link("srv/logs/dangling", "none");
    ground.link("srv/logs/dangling-absolute", ground.path("srv/logs/none"));
    ground.link("srv/logs/dangling-pod", "../pods/none");
    ground.link("srv/logs/loop", "pool");
    ground.link("srv/logs/pool", "loop");
    ground.link("given", "srv/pods");
    ground.link("srv/logs/by-given-name", ground.path("given/none"));
    for access in ground.access(&["srv/logs", "given"]) {
        for name in [
            "dangling",
            "dangling/x",
            "dangling-absolute",
            "dangling-pod",
            "loop",
            "loop/x",
            "by-given-name",
        ] {
            assert_eq!(ground.read(&access, &format!("srv/logs/{name}")), Err(NotFound), "{name}");
        }
    }
}

#[test]
fn a_prefix_that_is_a_link_is_known_by_both_names() {
    let ground = linked();
    ground.link("name", "srv/logs");
    ground.link("srv/logs/by-name", ground.path("name/a"));
    for access in ground.access(&["name"]) {
        assert_eq!(access.prefixes().collect::<Vec<_>>(), [ground.path("name")]);
        for name in ["name/a", "srv/logs/a", "name/by-name"] {
            assert_eq!(ground.read(&access, name).as_deref(), Ok("inside"), "{name}");
        }
        assert_eq!(ground.read(&access, "srv/pods/p"), Err(Forbidden));
        fs::remove_file(ground.path("name")).unwrap();
        ground.link("name", "etc");
        assert_eq!(
            ground.read(&access, "name/secret"),
            Err(NotFound),
            "it stands for where it led at the start"
        );
        fs::remove_file(ground.path("name")).unwrap();
        ground.link("name", "srv/logs");
    }
    let top = Access::new([ground.path("name/..")]).unwrap();
    assert_eq!(
        top.prefixes().collect::<Vec<_>>(),
        [ground.path("srv")],
        "as the kernel and `ls` take it"
    );
}

#[test]
fn a_name_that_ends_like_a_removed_one_is_a_name() {
    let ground = linked();
    ground.file("srv/logs/x (deleted)", "there");
    ground.file("srv/logs/d (deleted)/y", "below");
    for access in ground.access(&["srv/logs", "srv/logs/d (deleted)"]) {
        assert_eq!(ground.read(&access, "srv/logs/x (deleted)").as_deref(), Ok("there"));
        assert_eq!(ground.read(&access, "srv/logs/d (deleted)/y").as_deref(), Ok("below"));
        assert_eq!(ground.read(&access, "srv/logs/x"), Err(NotFound));
    }
}

#[test]
fn a_place_tells_a_removed_name_from_one_that_ends_so() {
    let ground = linked();
    let place = |object: &fs::File| {
        let place = ResolvedPath::of(object.as_fd()).unwrap();
        (place.path, place.gone)
    };
    let create = |name: &str| fs::File::create(ground.path(name)).unwrap();
    let named = create("n (deleted)");
    assert_eq!(place(&named), (ground.path("n (deleted)"), false));
    let removed = create("r");
    fs::remove_file(ground.path("r")).unwrap();
    assert_eq!(place(&removed), (ground.path("r"), true));
    // Its other name keeps the link count above zero.
    let linked = create("l");
    fs::hard_link(ground.path("l"), ground.path("other")).unwrap();
    fs::remove_file(ground.path("l")).unwrap();
    assert_eq!(place(&linked), (ground.path("l"), true));
    create("l (deleted)");
    assert_eq!(place(&linked), (ground.path("l"), true));
}
