"""After everything else: what was acknowledged meanwhile is there once, and the tiers end in good order."""

import unittest

import stand


class Ending(unittest.TestCase):
    def test_everything_acknowledged_is_applied_once(self):
        code, said = stand.running().end()
        print("       " + said.strip().splitlines()[-1] if said.strip() else "")
        self.assertEqual(code, 0, said)
        self.assertIn("lost=0", said)
