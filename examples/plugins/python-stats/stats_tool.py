"""Two tools for Vivarium that work on CSV files of the session's workspace: one adds rows, one writes a report.

Python starts when the component is built, and the component holds the interpreter as it stood then. So whatever is used
has to be imported here: at a call there is no standard library on disk any more to import from.
"""

import csv
import encodings.utf_8_sig  # noqa: F401  what `open` would look up at the first call
import json
import math
import os
import statistics
from pathlib import PurePosixPath

from componentize_py_types import Err
from wit_world import exports
from wit_world.exports import tool
from wit_world.imports.types import Document

# Where the host puts the session's workspace.
WORKSPACE = PurePosixPath("/")

# A report for a person is read from top to bottom; more columns than this are for a spreadsheet.
MOST_COLUMNS = 64


class Tool(exports.Tool):
    """What the world exports."""

    def call(self, name: str, arguments_json: str, context: tool.Context) -> tool.Output:
        # The host has checked them against the tool's input schema.
        arguments = json.loads(arguments_json)
        match name:
            case "csv_append":
                return append(arguments.get("path", "data.csv"), arguments["rows"])
            case "csv_statistics":
                return report(arguments.get("path", "data.csv"), arguments.get("report", "report.md"))
        raise Err(tool.ToolError_UnknownTool(f"this component has csv_append and csv_statistics, not {name}"))


def append(path: str, rows: list[list]) -> tool.Output:
    try:
        with open(in_workspace(path), "a", newline="", encoding="utf-8") as file:
            csv.writer(file, lineterminator="\n").writerows(rows)
    except OSError as error:
        raise refused(path, error) from None
    return tool.Output(content=json.dumps({"path": path, "added": len(rows)}), documents=[])


def report(path: str, report_path: str) -> tool.Output:
    columns, rows = read(path)
    summary = {"path": path, "report": report_path, "rows": rows, "columns": columns}
    text = markdown(summary)
    write(report_path, text)
    document = Document(title=report_path, location=report_path, media_type="text/markdown", text=text)
    return tool.Output(content=json.dumps(summary), documents=[document])


def read(path: str) -> tuple[list[dict], int]:
    """The columns' statistics, and how many rows there are."""
    try:
        with open(in_workspace(path), newline="", encoding="utf-8-sig") as file:
            return summarise(csv.reader(file, strict=True), path)
    except (UnicodeDecodeError, csv.Error, IsADirectoryError) as error:
        raise Err(tool.ToolError_InvalidArguments(f"{path} is no CSV file in UTF-8: {error}")) from None
    except OSError as error:
        raise refused(path, error) from None


def write(path: str, text: str) -> None:
    try:
        with open(in_workspace(path), "w", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise refused(path, error) from None


def in_workspace(path: str) -> PurePosixPath:
    """The host keeps a guest inside the workspace whatever it asks for; this only gives a clearer sentence."""
    parts = PurePosixPath(path)
    if parts.is_absolute() or ".." in parts.parts:
        raise Err(tool.ToolError_InvalidArguments(f"{path} is no path within the workspace: use one such as data.csv"))
    return WORKSPACE / parts


def refused(path: str, error: OSError) -> Err:
    if not os.path.isdir(WORKSPACE):
        return Err(tool.ToolError_Denied("there is no workspace: a grant of files would give this plugin one"))
    if isinstance(error, FileNotFoundError):
        return Err(tool.ToolError_NotFound(f"the workspace has no {path}, or not the folder that it should be in"))
    return Err(tool.ToolError_Failed(f"{path} cannot be opened: {error.strerror}"))


def summarise(reader, path: str) -> tuple[list[dict], int]:
    """One pass over the rows. A cell that is no number makes its column one of words."""
    names = next(reader, None)
    if not names:
        raise Err(tool.ToolError_InvalidArguments(f"{path} is empty: its first line must name the columns"))
    if len(names) > MOST_COLUMNS:
        raise Err(tool.ToolError_InvalidArguments(f"{path} has {len(names)} columns; {MOST_COLUMNS} is the most"))
    cells = [[] for _ in names]
    rows = 0
    for row in reader:
        if not row:
            continue
        if len(row) != len(names):
            problem = f"line {reader.line_num} of {path} has {len(row)} cells where the first line names {len(names)}"
            raise Err(tool.ToolError_InvalidArguments(problem))
        rows += 1
        for column, cell in zip(cells, row):
            if cell.strip():
                column.append(cell.strip())
    return [column_of(name, values) for name, values in zip(names, cells)], rows


def column_of(name: str, values: list[str]) -> dict:
    try:
        numbers = [float(value) for value in values]
    except ValueError:
        numbers = []
    # Python reads "nan" and "inf" as numbers. JSON has none such, and a mean of them says nothing.
    if not numbers or not all(map(math.isfinite, numbers)):
        return {"name": name, "values": len(values), "distinct": len(set(values))}
    return {
        "name": name,
        "values": len(numbers),
        "distinct": len(set(numbers)),
        "mean": statistics.fmean(numbers),
        "median": statistics.median(numbers),
        "min": min(numbers),
        "max": max(numbers),
    }


def markdown(summary: dict) -> str:
    lines = [
        f"# Statistics of {summary['path']}",
        "",
        f"{summary['rows']} rows.",
        "",
        "| column | values | distinct | mean | median | min | max |",
        "|---|---|---|---|---|---|---|",
    ]
    for column in summary["columns"]:
        numbers = [f"{column[key]:.10g}" if key in column else "" for key in ("mean", "median", "min", "max")]
        name = column["name"].replace("|", "\\|")
        lines.append(f"| {name} | {column['values']} | {column['distinct']} | " + " | ".join(numbers) + " |")
    return "\n".join(lines) + "\n"
