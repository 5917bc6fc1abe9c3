"""`surefoot report FOLDER... -o audit.html`: the page of an audit, or of several side by side."""

from typing import Any

from jsonargparse import ArgumentParser

from surefoot import report
from surefoot.auditing import AuditResult
from surefoot.cli import _outputs
from surefoot.cli._options import add, add_config, make_parser
from surefoot.errors import SurefootError
from surefoot.files import write_whole

HELP = "make the page of an audit from its folder, or of several side by side"
TABLES = (".csv", ".json", ".md", ".tex")


def parser() -> ArgumentParser:
    """The options of the command."""
    options = make_parser(
        "Make one self-contained page of an audit from its folder alone, or of several side by "
        "side; or, by the ending of the file's name, the summary as a table."
    )
    options.add_argument("folder", nargs="*", type=str, metavar="FOLDER", help="of audits")
    options.add_argument(
        "--folders", type=list[str] | None, metavar="[FOLDER, ...]", help="the same, for a file"
    )
    add(options, "quiet json force")
    add_config(options)
    options.add_argument(
        "-o",
        "--out",
        type=str,
        default="audit.html",
        metavar="FILE",
        help=f".html, or {', '.join(TABLES)} for the summary of one audit",
    )
    return options


def run(settings: Any) -> None:
    """Write the page, or the table.

    Raises:
        SurefootError: a folder that holds no audit, or a file that cannot be written.
    """
    folders = list(settings.folder or settings.folders or [])
    if not folders:
        raise SurefootError("no folder was given; write: surefoot report runs/audit -o audit.html")
    _outputs.check([settings.out], force=settings.force)
    results = [AuditResult.load(folder) for folder in folders]
    if not settings.out.endswith(TABLES):
        write_whole(settings.out, report.audit_page(*results).encode())
    elif len(results) == 1:
        results[0].export(settings.out)
    else:
        raise SurefootError(f"{settings.out} holds the summary of one audit; give one folder")
    said = [f"{folder}: {len(each)} samples" for folder, each in zip(folders, results, strict=True)]
    _outputs.say(settings, said)
    found = [
        {"folder": folder, "samples": len(each)}
        for folder, each in zip(folders, results, strict=True)
    ]
    _outputs.tell(settings, {"command": "report", "audits": found, "files": [settings.out]})
    _outputs.wrote(settings, [settings.out])
