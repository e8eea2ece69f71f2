//! Links, and answers that must not reveal whether a file outside exists.

use super::*;

/// A fixture with a secret outside the prefixes, a second prefix, and a subdirectory.
fn linked() -> Fixture {
    let fixture = Fixture::new();
    fixture.file("etc/secret", "secret");
    fixture.file("srv/pods/p", "pod");
    fixture.file("srv/logs/sub/b", "below");
    fixture
}

#[test]
fn a_link_that_ends_inside_any_prefix_works() {
    let fixture = linked();
    fixture.link("srv/logs/relative", "a");
    fixture.link("srv/logs/absolute", fixture.path("srv/logs/a"));
    fixture.link("srv/logs/dir", "sub");
    fixture.link("srv/logs/chain", "relative");
    fixture.link("srv/logs/pod", "../pods/p");
    fixture.link("srv/logs/pods", fixture.path("srv/pods"));
    for access in fixture.access(&["srv/logs", "srv/pods"]) {
        for (name, content) in [
            ("srv/logs/relative", "inside"),
            ("srv/logs/absolute", "inside"),
            ("srv/logs/dir/b", "below"),
            ("srv/logs/chain", "inside"),
            ("srv/logs/pod", "pod"),
            ("srv/logs/pods/p", "pod"),
        ] {
            assert_eq!(fixture.read(&access, name).as_deref(), Ok(content), "{name}");
        }
    }
}

#[test]
fn a_link_that_leads_outside_is_forbidden_whether_or_not_anything_is_there() {
    let fixture = linked();
    for (link, target) in [
        ("passwd", Path::new("/etc/passwd")),
        ("passwd-none", Path::new("/etc/passwd-none")),
        ("up", Path::new("../../etc/secret")),
        ("up-none", Path::new("../../etc/none")),
        ("dir", &fixture.path("etc")),
        ("dir-none", &fixture.path("etc/none")),
        ("under-a-file", &fixture.path("etc/secret/x")),
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
        fixture.link(&format!("srv/logs/{link}"), target);
    }
    fixture.link("etc/endless", "endless");
    for access in fixture.access(&["srv/logs"]) {
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
            assert_eq!(
                fixture.read(&access, &format!("srv/logs/{name}")),
                Err(Forbidden),
                "{name}"
            );
        }
    }
}

#[test]
fn a_magic_link_is_forbidden() {
    let fixture = linked();
    fixture.link("srv/logs/magic", "/proc/self/root/etc/passwd");
    fixture.link("srv/logs/magic-none", "/proc/self/root/etc/passwd-none");
    fixture.link("srv/logs/magic-dir", "/proc/self/root");
    fixture.link("srv/logs/descriptor", "/proc/self/fd/0");
    for access in fixture.access(&["srv/logs"]) {
        for name in ["magic", "magic-none", "magic-dir/etc/passwd", "magic-dir/none", "descriptor"]
        {
            assert_eq!(
                fixture.read(&access, &format!("srv/logs/{name}")),
                Err(Forbidden),
                "{name}"
            );
        }
    }
}

#[test]
fn a_dangling_link_or_a_loop_inside_is_not_found() {
    let fixture = linked();
    fixture.link("srv/logs/dangling", "none");
    fixture.link("srv/logs/dangling-absolute", fixture.path("srv/logs/none"));
    fixture.link("srv/logs/dangling-pod", "../pods/none");
    fixture.link("srv/logs/loop", "pool");
    fixture.link("srv/logs/pool", "loop");
    fixture.link("given", "srv/pods");
    fixture.link("srv/logs/by-given-name", fixture.path("given/none"));
    for access in fixture.access(&["srv/logs", "given"]) {
        for name in [
            "dangling",
            "dangling/x",
            "dangling-absolute",
            "dangling-pod",
            "loop",
            "loop/x",
            "by-given-name",
        ] {
            assert_eq!(fixture.read(&access, &format!("srv/logs/{name}")), Err(NotFound), "{name}");
        }
    }
}

#[test]
fn logs_of_a_prefix_that_is_a_link_are_found_by_both_names() {
    let fixture = linked();
    fixture.link("name", "srv/logs");
    fixture.link("srv/logs/by-name", fixture.path("name/a"));
    for access in fixture.access(&["name"]) {
        assert_eq!(access.prefixes(), [fixture.path("name")]);
        for name in ["name/a", "srv/logs/a", "name/by-name"] {
            assert_eq!(fixture.read(&access, name).as_deref(), Ok("inside"), "{name}");
        }
        assert_eq!(fixture.read(&access, "srv/pods/p"), Err(Forbidden));
        fs::remove_file(fixture.path("name")).unwrap();
        fixture.link("name", "etc");
        assert_eq!(
            fixture.read(&access, "name/secret"),
            Err(NotFound),
            "the prefix is the directory to which it led at the start"
        );
        fs::remove_file(fixture.path("name")).unwrap();
        fixture.link("name", "srv/logs");
    }
    let top = Access::new([fixture.path("name/..")]).unwrap();
    assert_eq!(top.prefixes(), [fixture.path("srv")], "as the kernel and `ls` resolve it");
}

#[test]
fn a_file_whose_name_ends_with_deleted_is_found() {
    let fixture = linked();
    fixture.file("srv/logs/x (deleted)", "there");
    fixture.file("srv/logs/d (deleted)/y", "below");
    for access in fixture.access(&["srv/logs", "srv/logs/d (deleted)"]) {
        assert_eq!(fixture.read(&access, "srv/logs/x (deleted)").as_deref(), Ok("there"));
        assert_eq!(fixture.read(&access, "srv/logs/d (deleted)/y").as_deref(), Ok("below"));
        assert_eq!(fixture.read(&access, "srv/logs/x"), Err(NotFound));
    }
}

#[test]
fn a_removed_name_is_distinguished_from_one_that_ends_with_deleted() {
    let fixture = linked();
    let place = |object: &fs::File| {
        let place = ResolvedPath::of(object.as_fd()).unwrap();
        (place.path, place.gone)
    };
    let create = |name: &str| fs::File::create(fixture.path(name)).unwrap();
    let named = create("n (deleted)");
    assert_eq!(place(&named), (fixture.path("n (deleted)"), false));
    let removed = create("r");
    fs::remove_file(fixture.path("r")).unwrap();
    assert_eq!(place(&removed), (fixture.path("r"), true));
    // A second name keeps the link count above zero.
    let linked = create("l");
    fs::hard_link(fixture.path("l"), fixture.path("other")).unwrap();
    fs::remove_file(fixture.path("l")).unwrap();
    assert_eq!(place(&linked), (fixture.path("l"), true));
    create("l (deleted)");
    assert_eq!(place(&linked), (fixture.path("l"), true));
}
