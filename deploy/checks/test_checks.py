"""What the checks must find, and what they must let pass."""

import json
import pathlib
import random
import re
import shutil
import subprocess
import tempfile
import unittest

from . import hcl, layout, names

DEPLOY = pathlib.Path(__file__).resolve().parent.parent
FILES = {path.name: path.read_text() for path in sorted((DEPLOY / "terraform").glob("*.tf"))}
SCHEMA = json.loads((DEPLOY / "terraform.schema.json").read_text())

GOOD = """\
locals {
  a    = [for b in [1, 2] : -b if b > 0] # one
  long = { x = 1, y = {} }               # two

  c = [
    "${var.a}${var.b}-x",
    !true,
  ]
}
"""


class Layout(unittest.TestCase):
    def test_the_layout_of_terraform_passes(self):
        self.assertEqual(layout.problems(GOOD, "f"), [])

    def test_every_other_layout_is_found(self):
        for old, new in [
            ("  a    =", "  a   ="),
            ("  a    =", " a    ="),
            ("[1, 2]", "[1,2]"),
            ("-b if", "- b if"),
            ("0] # one", "0]  # one"),
            ("0] # one", "0] #one "),
            ("{ x", "{x"),
            ("{} }", "{ } }"),
            ("    !true", "  !true"),
            ("!true", "! true"),
            ("]\n}", "]\n  }"),
            ("]\n}", "] \n}"),
            ("]\n}\n", "]\n}"),
            ("locals {", "locals{"),
            ("\n\n", "\n  \n"),
            ('"${var.a}${var.b}-x"', '"${var.a}"'),
        ]:
            with self.subTest(new=new):
                self.assertIn(old, GOOD)
                try:
                    found = layout.problems(GOOD.replace(old, new, 1), "f")
                except hcl.Unreadable as error:
                    found = [str(error)]
                self.assertNotEqual(found, [])

    @unittest.skipUnless(shutil.which("terraform"), "terraform is not installed")
    def test_the_verdict_is_that_of_terraform(self):
        chance, texts = random.Random(7), []
        for _ in range(300):
            text = chance.choice([GOOD, *FILES.values()])
            # One space more, one less, or a line more or less, somewhere. (Only we ask for a newline at the end.)
            places = [at for at, sign in enumerate(text[:-1]) if sign in " \n" and not _in_words(text, at)]
            at = chance.choice(places)
            texts.append(chance.choice([text[:at] + text[at] + text[at:], text[:at] + text[at + 1 :], text]))
        with tempfile.TemporaryDirectory() as folder:
            files = {pathlib.Path(folder, f"{number}.tf"): text for number, text in enumerate(texts)}
            for path, text in files.items():
                path.write_text(text)
            command = ["terraform", "fmt", "-no-color", "-check", "-list=true", folder]
            run = lambda: subprocess.run(command, capture_output=True, text=True, check=False)
            # What is no HCL at all any more: its verdict on the others comes without these only.
            broken = {int(number) for number in re.findall(r"(\d+)\.tf line", run().stderr)}
            for number in broken:
                pathlib.Path(folder, f"{number}.tf").unlink()
            answer = run()
        self.assertNotIn("Error:", answer.stderr)
        listed = {int(pathlib.Path(line).stem) for line in answer.stdout.splitlines()}
        self.assertGreater(len(listed), 50)
        self.assertGreater(len(texts) - len(listed) - len(broken), 50)
        for number, text in enumerate(texts):
            if number in broken:
                continue
            try:
                found = layout.problems(text, "f")
            except hcl.Unreadable as error:
                found = [str(error)]
            self.assertEqual(bool(found), number in listed, f"{found}\n{text}")


def _in_words(text, at):
    """Whether a place lies in a text or a comment, where spaces are nobody's business."""
    line = text[text.rfind("\n", 0, at) + 1 : at]
    return text[at] == " " and ("#" in line or line.count('"') % 2 == 1)


class Names(unittest.TestCase):
    def found(self, **changed):
        files = {**FILES, **changed}
        return names.problems({name: hcl.body(text, name) for name, text in files.items()}, {}, SCHEMA)

    def test_our_files_pass(self):
        self.assertEqual(self.found(), [])

    def test_what_is_not_there_is_found(self):
        for name, old, new, message in [
            ("main.tf", "var.location", "var.locatoin", "there is no var.locatoin; location is meant?"),
            ("main.tf", "local.tags", "local.tag", "there is no local.tag"),
            ("main.tf", "  location = var.location\n", "", "lacks its argument location"),
            ("main.tf", "is_private      =", "unused = 1\n  is_private      =", "local.unused is not used"),
            ("storage.tf", "shared_access_key_enabled ", "shared_key_access_enabled ", "has no argument"),
            ("storage.tf", "delete_retention_policy", "retention_policy", "has no block retention_policy"),
            ("storage.tf", "default_action = ", "action = ", "network_rules lacks its argument default_action"),
            ("identity.tf", ".principal_id", ".principal", "has no attribute principal"),
            ("identity.tf", "azurerm_key_vault.this", "azurerm_key_vault.that", "there is no azurerm_key_vault.that"),
            ("jobs.tf", "cron_expression", "cron", "has no argument cron"),
            ("jobs.tf", '"azurerm_container_app_job"', '"azurerm_container_job"', "lacks azurerm_container_job"),
            ("secrets.tf", "current.tenant_id", "current.tenant", "azurerm_client_config has no attribute tenant"),
        ]:
            with self.subTest(new=new):
                self.assertIn(old, FILES[name])
                found = self.found(**{name: FILES[name].replace(old, new, 1)})
                self.assertTrue(any(message in line for line in found), found)

    def test_an_example_gives_what_has_no_default(self):
        body = hcl.body('subscripton_id = "x"\n', "e")
        files = {name: hcl.body(text, name) for name, text in FILES.items()}
        found = "\n".join(names.problems(files, {"e": body}, SCHEMA))
        self.assertIn("there is no variable subscripton_id; subscription_id is meant?", found)
        self.assertIn("the variable suffix has no default, and is not given", found)

    def test_what_does_not_read_is_said_with_its_line(self):
        for text in ["a {\n", "a = (\n", 'a = "b\n', "a = <<E\nE\n", "a b c\n", "a = 1\na = 2\n"]:
            with self.subTest(text=text), self.assertRaisesRegex(hcl.Unreadable, "^f:[12]: "):
                hcl.body(text, "f")
