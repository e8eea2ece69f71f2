//! Every SGR code, and links.

use super::*;

#[test]
fn styles_become_elements() {
    let red = "<span style='color:var(--red,#a00)'>";
    for (bytes, expected) in [
        ("<b>&\"'", "&lt;b&gt;&amp;&quot;&#39;".to_owned()),
        ("\x1b[31m<x>", format!("{red}&lt;x&gt;</span>")),
        ("a\x1b[31mb\x1b[0mc", format!("a{red}b</span>c")),
        ("a\x1b[31mb\nc\x1b[mc", format!("a{red}b</span>\n{red}c</span>c")),
        ("\x1b[1;3;4;9mx", "<b><i><s><u>x</u></s></i></b>".into()),
        ("\x1b[2mx", "<span style='opacity:0.67'>x</span>".into()),
        ("\x1b[53mx\x1b[55my", "<u style='text-decoration:overline'>x</u>y".into()),
        ("\x1b[21mx\x1b[24my", "<u style='text-decoration-style:double'>x</u>y".into()),
        ("\x1b[1;2mx\x1b[22my", "<b><span style='opacity:0.67'>x</span></b>y".into()),
        ("\x1b[95;104mx", "<span style='color:var(--bright-magenta,#f5f)'><span style='background:var(--bright-blue,#55f)'>x</span></span>".into()),
        ("\x1b[38;5;211mx", "<span style='color:#ff87af'>x</span>".into()),
        ("\x1b[38;5;9mx", "<span style='color:var(--bright-red,#f55)'>x</span>".into()),
        ("\x1b[38;2;1;2;3mx", "<span style='color:#010203'>x</span>".into()),
        ("\x1b[38:2::1:2:3mx", "<span style='color:#010203'>x</span>".into()),
        ("\x1b[38:2:1:2:3mx", "<span style='color:#010203'>x</span>".into()),
        ("\x1b[48:5:211mx\x1b[49my", "<span style='background:#ff87af'>x</span>y".into()),
        ("\x1b[;31mx\x1b[39my", format!("{red}x</span>y")),
        ("\x1b[4:3mx\x1b[4:0my", "<u style='text-decoration-style:wavy'>x</u>y".into()),
        ("\x1b[4;58;5;196mx\x1b[59;24my", "<u style='text-decoration-style:solid;text-decoration-color:#ff0000'>x</u>y".into()),
        ("\x1b[4;58;5;1mx", "<u style='text-decoration-style:solid;text-decoration-color:var(--red,#a00)'>x</u>".into()),
        ("\x1b[7mx\x1b[27my", "<span style='color:var(--bg,#fff);background:var(--fg,#000)'>x</span>y".into()),
        ("\x1b[7;31mx", "<span style='color:var(--bg,#fff)'><span style='background:var(--red,#a00)'>x</span></span>".into()),
        ("\x1b[5mx\x1b[25my", "<span style='animation:var(--blink,none)'>x</span>y".into()),
        ("\x1b[8;31mx\x1b[28m", "<span style='color:transparent'>x</span>".into()),
        // Unknown parameters are skipped one by one.
        ("\x1b[56;70;300;31;99mx", format!("{red}x</span>")),
        ("\x1b[38;5;999mx\x1b[38;2;300;0;0my\x1b[38;5mz\x1b[38;2;1;2mz\x1b[38mz", "xyzzz".into()),
        ("\x1b[38;2;300;1;4;31mx", format!("{red}x</span>")),
        ("\x1b[99999999999999999999mx\x1b[;;;my", "xy".into()),
        ("\x1b[31m\x1b[>4;1mx\x1b[?1my", format!("{red}xy</span>")),
    ] {
        assert_eq!(html(bytes.as_bytes()), expected, "{bytes:?}");
        let split = rows_of(bytes.as_bytes().chunks(1)).iter().map(Row::html).collect::<Vec<_>>().join("\n");
        assert_eq!(split, expected, "{bytes:?} in single bytes");
    }
    let many = format!("\x1b[{}mx\n\x1b[0my", "1;".repeat(10_000));
    assert_eq!(html(many.as_bytes()), "<b>x</b>\ny");
}

#[test]
fn links_lead_only_where_it_is_safe() {
    let link = |target: &str| html(format!("\x1b]8;;{target}\x1b\\x\x1b]8;;\x1b\\y").as_bytes());
    let shown =
        |target: &str| format!("<a href=\"{target}\" rel=\"noopener\" target=\"_blank\">x</a>y");
    for safe in ["http://a/b", "HTTPS://a/b;c;d", "mailto:a@b"] {
        assert_eq!(link(safe), shown(safe));
    }
    assert_eq!(link("http://a/\"'<>&"), shown("http://a/&quot;&#39;&lt;&gt;&amp;"));
    let long = format!("http://{}", "a".repeat(4096));
    let refused = [
        "javascript:x",
        "data:x",
        "JaVa\tScript:x",
        " http:x",
        "http://a\u{1}",
        "http://a b",
        "/relative",
        "http",
        &long,
    ];
    for refused in refused {
        assert_eq!(link(refused), "xy", "{refused:?}");
    }
    // A link with several styles is one element.
    assert_eq!(
        html(b"\x1b]8;id=1;http://a\x07x\x1b[1my\x1b]8;;\x07z"),
        "<a href=\"http://a\" rel=\"noopener\" target=\"_blank\">x<b>y</b></a><b>z</b>"
    );
    let edited = b"\x1b]8;;http://a\x07xx\x1b]8;;http://b\x07\ry\x1b]8;;\x07";
    assert_eq!(
        html(edited),
        "<a href=\"http://b\" rel=\"noopener\" target=\"_blank\">y</a><a href=\"http://a\" rel=\"noopener\" target=\"_blank\">x</a>"
    );
}
