"""What the proxies' configurations promise of the tiers behind them."""

import re
import unittest

import tree


class Idle(unittest.TestCase):
    def test_a_proxy_closes_an_idle_connection_before_the_tier_does(self):
        """Else a request that is not sent twice, as a POST is, meets the closing and is answered 502."""
        limit = re.search(r"`AB_IDLE_TIMEOUT` \| `(\w+)`", tree.text("ops/docs/settings.md"))
        for file, word, of in (
            ("ops/proxy/nginx.conf", r"keepalive_timeout (\w+);", r"^upstream "),
            ("ops/proxy/Caddyfile", r"keepalive (\w+)$", r"reverse_proxy "),
        ):
            text = tree.text(file)
            times = [tree.seconds(time) for time in re.findall(word, text, re.M)]
            self.assertEqual(len(times), len(re.findall(of, text, re.M)), file)
            self.assertLess(max(times), tree.seconds(limit.group(1)), file)
