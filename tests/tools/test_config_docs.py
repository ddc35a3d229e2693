"""config.yaml and the table of keys say what the sections say."""

import yaml

from selfieavatar.settings.config import CONFIG_FILE, SECTIONS
from tools.config_docs import README_FILE, config_yaml, readme_with_table


def test_written_files_are_in_step_with_the_sections():
    assert CONFIG_FILE.read_text() == config_yaml(), "run `python -m tools.config_docs --write`"
    assert README_FILE.read_text() == readme_with_table(README_FILE.read_text()), "run the same"
    written = yaml.safe_load(config_yaml())
    assert {name: written[name] for name in SECTIONS} == {name: dict(section()) for name, section in SECTIONS.items()}
