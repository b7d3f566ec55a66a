"""Tests of readers.py with small sources. Run: python3 tests/clients/test_readers.py"""

import sys
import tempfile
import unittest
from pathlib import Path

sys.dont_write_bytecode = True
from readers import read_javascript, read_python  # noqa: E402


def names(read, source, name, *more):
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / name
        path.write_text(source)
        return {found.name for found in read([(path, name)], *more)}


class Python(unittest.TestCase):
    def finds(self, source, *expected):
        self.assertEqual(names(read_python, source, "a.py"), set(expected))

    def test_every_way_to_look_up_a_variable_is_found(self):
        self.finds(
            'import os\nos.environ["A_ONE"]\nos.environ.get("A_TWO")\nos.getenv("A_THREE")\n"A_FOUR" in os.environ\n',
            "A_ONE", "A_TWO", "A_THREE", "A_FOUR",
        )

    def test_a_variable_that_is_set_is_not_read(self):
        self.finds('import os\nos.environ["A_ONE"] = "x"\n')

    def test_a_name_in_a_constant_is_found(self):
        self.finds('import os\nKEY = "A_KEY"\nos.environ.get(KEY)\n', "A_KEY")

    def test_a_lookup_of_a_parameter_through_two_functions_is_found(self):
        self.finds(
            "import os\n"
            "def look(name):\n    return os.environ.get(name)\n"
            "def key(*, variable):\n    return look(variable)\n"
            'key(variable="A_KEY")\n',
            "A_KEY",
        )

    def test_names_in_a_loop_over_pairs_are_found(self):
        self.finds(
            'import os\nfor field, name in (("a", "A_ONE"), ("b", "A_TWO")):\n    os.getenv(name)\n',
            "A_ONE", "A_TWO",
        )

    def test_a_computed_name_is_reported_without_a_name(self):
        self.finds('import os\nx = 1\nos.environ.get(f"A_{x}")\n', None)

    def test_names_in_a_lookup_table_are_found(self):
        found = names(
            read_python, 'TABLE = {"region": ("region", "A_REGION", None)}\n', "a.py", [("a.py", "A_[A-Z]+")]
        )
        self.assertEqual(found, {"A_REGION"})


class JavaScript(unittest.TestCase):
    def finds(self, source, *expected):
        self.assertEqual(names(read_javascript, source, "a.mjs"), set(expected))

    def test_every_way_to_look_up_a_variable_is_found(self):
        self.finds(
            "process.env.A_ONE; process.env['A_TWO']; readEnv('A_THREE');\n"
            "loadApiKey({ environmentVariableName: 'A_FOUR', description: 'x' });\n",
            "A_ONE", "A_TWO", "A_THREE", "A_FOUR",
        )

    def test_a_selector_with_a_constant_is_found(self):
        self.finds('const ENV_REGION = "A_REGION";\nconst o = { environmentVariableSelector: (env) => env[ENV_REGION] };\n', "A_REGION")

    def test_names_in_a_schema_of_the_environment_are_found(self):
        self.finds("export const envSchema = z.object({\n  A_KEY: z.string().optional(),\n});\n", "A_KEY")

    def test_a_comment_is_ignored(self):
        self.finds(" * @param [apiKey=process.env['A_KEY']]\n")

    def test_a_computed_name_is_reported_without_a_name(self):
        self.finds("const x = process.env[name];\n", None)


if __name__ == "__main__":
    unittest.main()
