"""The report of the whole document, written once for the tests that read it."""

from __future__ import annotations

import pytest

from tests.helpers import report_document


@pytest.fixture(scope="session")
def files(tmp_path_factory):
    """Every file of the report, as bytes by name."""
    return report_document.written(tmp_path_factory.mktemp("report"), report_document.document())


@pytest.fixture(scope="session")
def page(files):
    return files["report.html"].decode("utf-8")
