//! Markers of groups, levels and times.

use super::*;

/// The annotations of the rows, as `closes 1, opens 2 name folded, error, @12`.
fn notes<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> Vec<String> {
    let show = |row: &Row| {
        let Some(note) = row.note() else { return String::new() };
        let mut words = Vec::new();
        if let Some(group) = &note.group {
            words.extend(group.closes.map(|level| format!("closes {level}")));
            words.extend(group.opens.as_ref().map(|opening| {
                let folded = if opening.collapsed { " folded" } else { "" };
                format!("opens {} {}{folded}", opening.level, opening.name)
            }));
        }
        words.extend(note.level.map(|level| level.name().to_owned()));
        words.extend(note.time.map(|time| format!("@{time}")));
        words.extend(note.exit.map(|exit| format!("exit {:?} {:?}", exit.status, exit.duration)));
        assert!(!words.is_empty(), "an empty note on {row:?}");
        words.join(", ")
    };
    rows_of(chunks).iter().map(show).collect()
}

#[track_caller]
fn check(log: &str, expected: &[(&str, &str)]) {
    let (expected_texts, expected_notes): (Vec<&str>, Vec<&str>) = expected.iter().copied().unzip();
    assert_eq!(texts(log.as_bytes()), expected_texts, "{log:?}");
    assert_eq!(notes([log.as_bytes()]), expected_notes, "{log:?}");
    assert_eq!(notes(log.as_bytes().chunks(1)), expected_notes, "{log:?} in single bytes");
}

#[test]
fn github_groups_nest_and_stay_visible() {
    check(
        "::group::Build it\r\na\n##[group]inner\nb\n##[endgroup]\n::endgroup::\nc\n",
        &[
            ("::group::Build it", "opens 1 Build it"),
            ("a", ""),
            ("##[group]inner", "opens 2 inner"),
            ("b", ""),
            ("##[endgroup]", "closes 2"),
            ("::endgroup::", "closes 1"),
            ("c", ""),
        ],
    );
    check(
        "2026-03-14T15:09:26.5358979Z ##[group]Run make\n2026-03-14T15:09:27.0000000Z ##[endgroup]\n",
        &[
            ("##[group]Run make", "opens 1 Run make, @1773500966535"),
            ("##[endgroup]", "closes 1, @1773500967000"),
        ],
    );
    // A time in another form may be part of the program's line.
    check(
        "2026-03-14T15:09:26Z ##[group]Run make\n2026-03-14T15:09:27Z ##[endgroup]\n",
        &[
            ("2026-03-14T15:09:26Z ##[group]Run make", "opens 1 Run make"),
            ("2026-03-14T15:09:27Z ##[endgroup]", "closes 1"),
        ],
    );
    // Styling within a marker does not matter.
    check("\x1b[36m::group::\x1b[1mx\x1b[m\n", &[("::group::x", "opens 1 x")]);
    check("::endgroup::\n", &[("::endgroup::", "")]);
    check(
        "a ::group::b\n::groups::c\n::group:d\n",
        &[("a ::group::b", ""), ("::groups::c", ""), ("::group:d", "")],
    );
    // An open line is not annotated, because it may still change.
    check("::group::a", &[("::group::a", "")]);
}

#[test]
fn github_levels_are_recognised() {
    check(
        "::error file=a.rs,line=1,title=T::went wrong\n::warning::hm\n::notice::n\n::debug::d\n##[error]e\n##[warning]w\n::errors::x\n::error x\n",
        &[
            ("::error file=a.rs,line=1,title=T::went wrong", "error"),
            ("::warning::hm", "warning"),
            ("::notice::n", "notice"),
            ("::debug::d", "debug"),
            ("##[error]e", "error"),
            ("##[warning]w", "warning"),
            ("::errors::x", ""),
            ("::error x", ""),
        ],
    );
}

#[test]
fn gitlab_section_markers_are_hidden_and_annotated() {
    check(
        "\x1b[0Ksection_start:1560896352:one[collapsed=true]\r\x1b[0KHeader\nx\n\x1b[0Ksection_end:1560896353:one\r\x1b[0K\x1b[0Ksection_start:1560896353:two\r\x1b[0KNext\ny\nsection_start:1:in\r\x1b[0Kinner\nsection_end:2:two\r\x1b[0Kend\n",
        &[
            ("Header", "opens 1 one folded"),
            ("x", ""),
            ("Next", "closes 1, opens 1 two"),
            ("y", ""),
            ("inner", "opens 2 in"),
            ("end", "closes 1"),
        ],
    );
    check(
        "section_start::x\r\x1b[Ka\nsection_start:1:\r\x1b[Kb\nsection_end:1:never\r\x1b[Kc\nsection_start:1:a b\r\x1b[Kd\nsection_start:1:n\n",
        &[("a", ""), ("b", ""), ("c", ""), ("d", ""), ("section_start:1:n", "")],
    );
    // A section that begins and ends in one row gets no annotation.
    check("section_start:1:a\r\x1b[Ksection_end:2:a\r\x1b[Kx\n", &[("x", "")]);
}

#[test]
fn a_buildkite_header_ends_the_group_before() {
    check(
        "~~~ Preparing\na\n--- :rocket: Test\n+++ Failures\n::group::in\n--- Next\n",
        &[
            ("~~~ Preparing", "opens 1 Preparing folded"),
            ("a", ""),
            ("--- :rocket: Test", "closes 1, opens 1 :rocket: Test folded"),
            ("+++ Failures", "closes 1, opens 1 Failures"),
            ("::group::in", "opens 2 in"),
            ("--- Next", "closes 1, opens 1 Next folded"),
        ],
    );
    let no_headers = "---\n--- a/src/lib.rs\n+++ b/src/lib.rs\n--- old\t2026-03-14\n--- /dev/null\n--- FAIL: TestX (0.00s)\n---- x\n--- \n ---  x\n";
    assert!(notes([no_headers.as_bytes()]).iter().all(String::is_empty));
}

#[test]
fn a_buildkite_time_belongs_to_its_row() {
    check(
        "\x1b_bk;t=1760000000123\x07one\n\x1b_bk;t=1760000000456\x1b\\two\n\x1b_bk;t=x\x07\x1b_bk;dt=5\x07three\x1b_other\x07\n\x1b_bk;t=1\x07a\r\x1b_bk;t=2\x07b\n\x1b_bk;t=3\x07--- n\n",
        &[
            ("one", "@1760000000123"),
            ("two", "@1760000000456"),
            ("three", ""),
            ("b", "@2"),
            ("--- n", "opens 1 n folded, @3"),
        ],
    );
}

#[test]
fn a_redrawn_marker_does_not_count_twice() {
    check(
        "::group::a\n\x1b[A::group::a\n::endgroup::\n",
        &[("::group::a", "opens 1 a"), ("::endgroup::", "closes 1")],
    );
    // When contents move, their annotations move with them.
    check("::group::a\nb\x1b[A\x1b[Lx", &[("x", ""), ("::group::a", "opens 1 a"), ("b", "")]);
}

#[test]
fn the_depth_and_the_names_of_groups_are_bounded() {
    let deep = "::group::g\n".repeat(40) + &"::endgroup::\n".repeat(40) + "::group::last\n";
    let notes = notes([deep.as_bytes()]);
    assert_eq!(notes[31], "opens 32 g");
    assert!(notes[32..48].iter().all(String::is_empty), "{notes:?}");
    assert_eq!((&*notes[48], &*notes[79], &*notes[80]), ("closes 32", "closes 1", "opens 1 last"));
    let long = format!("::group::{}\n", "é".repeat(1000));
    let rows = rows_of([long.as_bytes()]);
    let name = &rows[0].note().unwrap().group.as_ref().unwrap().opens.as_ref().unwrap().name;
    assert_eq!(*name, "é".repeat(128));
    // The second row of a cut line does not begin a line.
    let cut = format!("{}::group::x\n", "x".repeat(ROW_BYTES_MAX));
    assert!(rows_of([cut.as_bytes()]).iter().all(|row| row.note().is_none()));
    for n in [1, 7] {
        assert!(rows_of(cut.as_bytes().chunks(n)).iter().all(|row| row.note().is_none()));
    }
}

#[test]
fn sections_of_azure_are_groups() {
    check(
        "##[section]Starting: Build it\n##[command]/bin/make\n##[section]Finishing: Build it\n##[section]Other\n##vso[task.logissue type=error;sourcepath=a.c;]no\n##vso[task.logissue type=warning]hm\n##vso[task.complete]\n",
        &[
            ("##[section]Starting: Build it", "opens 1 Build it"),
            ("##[command]/bin/make", "notice"),
            ("##[section]Finishing: Build it", "closes 1"),
            ("##[section]Other", ""),
            ("##vso[task.logissue type=error;sourcepath=a.c;]no", "error"),
            ("##vso[task.logissue type=warning]hm", "warning"),
            ("##vso[task.complete]", ""),
        ],
    );
}

#[test]
fn folds_of_travis_are_wiped_and_noted() {
    check(
        "travis_fold:start:git.1\r\x1b[0Ktravis_time:start:0a1b\r\x1b[0K$ git clone\nCloning\n\ntravis_time:end:0a1b:start=1764338526000000000,finish=1764338527123456789,duration=1\r\x1b[0Ktravis_fold:end:git.1\r\x1b[0Kdone\ntravis_fold:start:a b\r\x1b[Kx\n",
        &[
            ("$ git clone", "opens 1 git.1 folded"),
            ("Cloning", ""),
            ("", ""),
            ("done", "closes 1, @1764338527123"),
            ("x", ""),
        ],
    );
}

#[test]
fn blocks_of_teamcity_have_names_with_escapes() {
    let rows = [
        ("##teamcity[blockOpened name='it|'s |[1|] ||']", "opens 1 it's [1] |"),
        ("##teamcity[blockOpened description='a name=|'x|'' name='|0x0416|n2']", "opens 2 Ж 2"),
        ("##teamcity[message text='name=' status='ERROR' errorDetails='']", "error"),
        ("##teamcity[message text='fine' status='NORMAL']", ""),
        ("##teamcity[message text='hm' status='WARNING']", "warning"),
        ("##teamcity[blockClosed name='it|'s |[1|] ||']", "closes 1"),
        ("##teamcity[testSuiteStarted name='all' flowId='1']", "opens 1 all"),
        ("##teamcity[testSuiteFinished name='all' flowId='1']", "closes 1"),
        ("##teamcity[blockOpened name='never closed", ""),
        ("##teamcity[blockOpened 'x']", ""),
        ("##teamcity[progressMessage 'x']", ""),
    ];
    let log: String = rows.iter().map(|(text, _)| format!("{text}\n")).collect();
    check(&log, &rows);
    for (value, expected) in [("|0xD800", ""), ("|0x12", "0x12"), ("|0x0007", ""), ("|", "")] {
        let log = format!("##teamcity[blockOpened name='a{value}']\n");
        let log = log.replace("a|']", "a||']");
        let expected = if value == "|" { "|" } else { expected };
        assert_eq!(notes([log.as_bytes()]), [format!("opens 1 a{expected}")], "{log:?}");
    }
}

#[test]
fn notes_of_jenkins_are_no_text() {
    let note = "\x1b[8mha:////4AAAA+/abc==\x1b[0m";
    check(
        &format!("{note}Started by user {note}ann\n\x1b[31m{note}red\n{note}::group::a\n"),
        &[("Started by user ann", ""), ("red", ""), ("::group::a", "opens 1 a")],
    );
    let red = |text: &str| format!("<span style='color:var(--red,#a00)'>{text}</span>");
    for size in [1, 2, 3, 1000] {
        let log = format!("\x1b[31m{note}red\n");
        let rows = rows_of(log.as_bytes().chunks(size));
        assert_eq!(rows[0].html(), red("red"), "in pieces of {size}");
    }
    // Other concealed text is text.
    check("\x1b[8mha\x1b[0mb\n", &[("hab", "")]);
    check("\x1b[8mhat\x1b[0mb\n", &[("hatb", "")]);
    check("\x1b[8mx\x1b[0mb\n", &[("xb", "")]);
    check("\x1b[8m\x1b[31mha:b\n", &[("ha:b", "")]);
    // A note that is cut ends with its line.
    check("\x1b[8mha:abc\nb\n", &[("", ""), ("b", "")]);
}

#[test]
fn stamps_hide_no_marker() {
    let at = "@1795874527123";
    let gitlab = "2026-11-28T14:02:07.123456Z 00O";
    check(
        &format!(
            "{gitlab} section_start:1:one\r\x1b[0K\n{gitlab}+\x1b[0K\x1b[36;1mHeader\x1b[0;m\n{gitlab} 10%\r\n{gitlab}+20%\n{gitlab} section_end:2:one\r\x1b[0K\n{gitlab}+section_start:2:two[collapsed=true]\r\x1b[0KNext\n"
        ),
        &[
            ("Header", &format!("opens 1 one, {at}")),
            ("20%", at),
            ("Next", &format!("closes 1, opens 1 two folded, {at}")),
        ],
    );
    let jenkins = "[2026-11-28T14:02:07.123Z] ";
    let note = "\x1b[8mha:////4AAAA+/abc==\x1b[0m";
    check(
        &format!("{note}{jenkins}[Pipeline] stage\n{jenkins}{{\"a\":1}}\n{jenkins}\n"),
        &[("[Pipeline] stage", at), ("{\"a\":1}", at), ("", at)],
    );
    let airflow = "[2026-11-28T14:02:07.123+0000] {task.py:12}";
    check(
        &format!(
            "{airflow} INFO - ::group::Pre\n{airflow} ERROR - no\n{airflow} INFO - ::endgroup::\n"
        ),
        &[
            ("::group::Pre", &format!("opens 1 Pre, {at}")),
            ("no", &format!("error, {at}")),
            ("::endgroup::", &format!("closes 1, {at}")),
        ],
    );
    let second = "@1795874527000";
    check(
        "[2026-11-28, 14:02:07 UTC] {task.py:12} INFO - ::group::Pre\n",
        &[("::group::Pre", &format!("opens 1 Pre, {second}"))],
    );
    check("14:02:07  ##[group]a\n", &[("14:02:07  ##[group]a", "opens 1 a")]);
    check("  ::group::a\n", &[("  ::group::a", "opens 1 a")]);
    check("::ERROR::a\n", &[("::ERROR::a", "error")]);
    check("  --- a\n", &[("  --- a", "")]);
    // Behind the start of a line it is text.
    check("a 2026-11-28T14:02:07.1234567Z b\n", &[("a 2026-11-28T14:02:07.1234567Z b", "")]);
    // What is not finished is shown.
    check("2026-11-28T14:02:07.12", &[("2026-11-28T14:02:07.12", "")]);
    check("2026-11-28T14:02\nb\n", &[("2026-11-28T14:02", ""), ("b", "")]);
}

#[test]
fn a_row_opens_one_group() {
    let log = "travis_fold:start:a\rtravis_fold:start:b\r\ntravis_fold:start:c\r\n";
    let levels: Vec<usize> = rows_of([log.as_bytes()])
        .iter()
        .filter_map(|row| Some(row.note()?.group.as_ref()?.opens.as_ref()?.level))
        .collect();
    assert_eq!(levels, [1, 2]);
}

#[test]
fn a_command_ends_on_the_row_of_its_mark() {
    const ONE: &str = "exit Some(1) None";
    check("a\n\x1b]133;D;1\x07", &[("a", ""), ("", ONE)]);
    check("\x1b]133;C\x1b\\a\x1b]133;D;1\x1b\\", &[("a", ONE)]);
    check("a\n\x1b]133;D\x07$ ls\nb", &[("a", ""), ("$ ls", "exit None None"), ("b", "")]);
    check(
        "a\r\n\x1b]633;P;Duration=182.4\x1b\\\x1b]133;D;0\x1b\\",
        &[("a", ""), ("", "exit Some(0) Some(182400)")],
    );
    // How long another command ran does not count.
    check("\x1b]633;P;Duration=2\x07\x1b]133;C\x07a\x1b]133;D;1\x07\n", &[("a", ONE)]);
    // The last of several counts.
    check("\x1b]133;D;2\x07\x1b]133;D;1\x07", &[("", ONE)]);
    // Nothing is shown of the marks themselves, and a broken one is none.
    check("\x1b]133;D;1\na", &[("", ""), ("a", "")]);
    check("\x1b]133;C\x07", &[]);
}

#[test]
fn a_redrawn_row_and_a_full_screen_program_end_with_their_command() {
    const ONE: &str = "exit Some(1) None";
    check("10%\r20%\r\x1b]133;D;1\x07", &[("20%", ONE)]);
    check("a\nb\x1b[A\rc\x1b[B\r\n\x1b]133;D;1\x07", &[("c", ""), ("b", ""), ("", ONE)]);
    let (full_screen, text) = ("⟨full-screen program⟩", "\x1b[?1049h hidden \x1b]133;D;1\x07shown");
    check(text, &[(full_screen, ""), ("shown", ONE)]);
}
