"""Writes the pages, and takes away those of providers that are gone."""

from tools.pages import DOCS, pages


def main() -> None:
    made = dict(pages())
    for old in (DOCS / "providers").glob("*.md"):
        if f"providers/{old.name}" not in made:
            old.unlink()
    for name, text in made.items():
        (DOCS / name).parent.mkdir(exist_ok=True)
        (DOCS / name).write_text(text, encoding="utf-8")


main()
