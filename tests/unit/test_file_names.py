"""Names of files and folders made of what others wrote."""

import pytest

from relay.upstream.file_names import LONGEST, extension_for, file_name, filled, numbered, parts_of, safe_name, titled


@pytest.mark.parametrize(
    ("said", "name"),
    [
        ("scan.pdf", "scan.pdf"),
        ("../../etc/passwd", "passwd"),
        ("/etc/cron.d/job", "job"),
        ("C:\\scans\\page 1.pdf", "page 1.pdf"),
        ("\\\\nas\\share\\a.pdf", "a.pdf"),
        ("folder/", "folder"),
        ("..", ""),
        (".", ""),
        ("", ""),
        (" . . ", ""),
        (".htaccess", "htaccess"),
        ("...hidden.pdf", "hidden.pdf"),
        ("._resource.pdf", "_resource.pdf"),
        ("scan.pdf.", "scan.pdf"),
        ("scan.pdf . ", "scan.pdf"),
        ("scan\x00.pdf", "scan.pdf"),
        ("a\x1b[31m\r\nb.pdf", "a[31m b.pdf"),
        ("invoice\u202efdp.exe", "invoicefdp.exe"),
        ("\u2066x\u2069\u200b.pdf", "x.pdf"),
        ('12:30?<new>|"*".pdf', "12_30__new_____.pdf"),
        ("con", "_con"),
        ("CON.pdf", "_CON.pdf"),
        ("nul .txt", "_nul .txt"),
        ("com1.tar.gz", "_com1.tar.gz"),
        ("lpt¹.pdf", "_lpt¹.pdf"),
        ("console.pdf", "console.pdf"),
        ("CON/", "_CON"),
        (". con .pdf", "_con .pdf"),
        ("u\u0308ber.pdf", "über.pdf"),
        ("日本語\u3000資料.pdf", "日本語 資料.pdf"),
        ("\ud800x.pdf", "x.pdf"),
    ],
)
def test_a_name_is_made_safe(said, name):
    """No path, no hidden file, no control or invisible sign, nothing that Windows cannot have."""
    assert safe_name(said) == name


def test_a_long_name_is_cut_at_a_character_and_keeps_its_extension():
    """At most 255 octets of UTF-8, also with a number behind it."""
    name = safe_name("資" * 200 + ".pdf")
    assert name.endswith("資.pdf")
    assert LONGEST - 3 < len(name.encode()) <= LONGEST
    assert safe_name("a" * 7000 + ".pdf").endswith("a.pdf")
    second = numbered(name, 12)
    assert second.endswith("資 (12).pdf")
    assert len(second.encode()) <= LONGEST


def test_a_number_stands_before_the_extension():
    """`scan.pdf` becomes `scan (2).pdf`; a name without one gets it at the end."""
    assert numbered("scan.pdf", 2) == "scan (2).pdf"
    assert numbered("README", 3) == "README (3)"
    assert numbered("a.tar.gz", 2) == "a.tar (2).gz"


def test_a_missing_name_comes_from_what_is_known():
    """The first that leaves something; the extension by type or by the first octets."""
    assert file_name(["", "..", "Scan 7"], ".pdf") == "Scan 7.pdf"
    assert file_name(["scan.PDF"], ".bin") == "scan.PDF"
    assert file_name([], ".pdf") == "file.pdf"
    assert file_name(["Scan 30.11.2026"], ".pdf") == "Scan 30.11.2026.pdf"
    assert file_name(["plan v1.2-final"], ".pdf") == "plan v1.2-final.pdf"
    assert file_name(["backup.7z.001"], ".bin") == "backup.7z.001"
    assert extension_for("application/pdf", b"") == ".pdf"
    assert extension_for("application/octet-stream", b"%PDF-1.7 ...") == ".pdf"
    assert extension_for("application/x-unheard-of", b"????") == ".bin"
    assert extension_for("text/x-log", b"") == ".txt"


def test_a_subject_is_no_path():
    """Slashes and dots of a title stay inside one name."""
    assert titled("Re: 1/2 of v1.2", ".txt") == "Re_ 1-2 of v1.2.txt"
    assert titled("../..", ".txt") == "-.txt"
    assert titled(" \r\n ", ".txt") == ""


def test_fields_fill_one_component_each():
    """A value that looks like a path, or like nothing, stays one folder."""
    values = {"device": "../../root", "from": "a/b@c.example", "client": "fe80::1%eth0", "date": "2026-11-30"}
    assert filled("{device}", values) == "-..-root"
    assert filled("{from}", values) == "a-b@c.example"
    assert filled("{client}", values) == "fe80__1%eth0"
    assert filled("scans-{date}", values) == "scans-2026-11-30"
    assert filled("{device}", {"device": ".."}) == "unknown"
    assert filled("{device}", {"device": ""}) == "unknown"


def test_the_fixed_part_ends_before_the_first_field():
    """What must be there, and what is made."""
    assert parts_of("/srv/scans/{device}/{date}/in") == ("/srv/scans", ("{device}", "{date}", "in"))
    assert parts_of("/srv//scans/./") == ("/srv/scans", ())
    assert parts_of("/srv/scans-{date}") == ("/srv", ("scans-{date}",))
