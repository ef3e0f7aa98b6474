"""The reference pages by their place in the site."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from testbed.reference.api import api_page
from testbed.reference.commands import commands_page
from testbed.reference.documents import scenario_page, study_page
from testbed.reference.faults import faults_page
from testbed.reference.interface import python_page
from testbed.reference.registries import engines_page, services_page, topologies_page
from testbed.reference.surroundings import environment_page
from testbed.reference.tables import tables_page

PAGES: Mapping[str, Callable[[], str]] = {
    "reference/commands.md": commands_page,
    "reference/scenario.md": scenario_page,
    "reference/study.md": study_page,
    "reference/faults.md": faults_page,
    "reference/engines.md": engines_page,
    "reference/services.md": services_page,
    "reference/topologies.md": topologies_page,
    "reference/tables.md": tables_page,
    "reference/api.md": api_page,
    "reference/python.md": python_page,
    "reference/environment.md": environment_page,
}
"""Each page's text, made when it is asked for."""
