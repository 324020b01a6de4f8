"""OpenFeature with abstream: flags that are experiments give exposures, tracked events give conversions.

    client = abstream.Client("https://events.example.com", "KEY")
    api.set_provider(tracked(your_provider, client))
    api.add_hooks([ExposureHook(client, experiments={"checkout"})])

    flags = api.get_client()
    user = EvaluationContext(targeting_key="user-1")
    flags.get_string_value("checkout", "control", user)
    flags.track("purchase", user, TrackingEventDetails(value=19.9))

The flag's key is the experiment, its variant the variation, the targeting key the user. Needs openfeature-sdk 0.10 or newer.
"""

from openfeature.hook import Hook


class ExposureHook(Hook):
    def __init__(self, client, experiments=None):
        """`experiments`: keys of the flags that are experiments. Without it every flag is sent, and those that are no
        experiments come back as `unknown_experiment` to the client's `on_error`."""
        self._client, self._experiments = client, experiments

    def after(self, hook_context, details, hints):
        user = hook_context.evaluation_context.targeting_key
        wanted = self._experiments is None or details.flag_key in self._experiments
        if wanted and user and details.variant:
            self._client.exposure(details.flag_key, user, details.variant)


def tracked(provider, client):
    """The provider, whose tracked events become conversions as well. Events without a targeting key are nobody's."""
    track = provider.track

    def track_both(name, evaluation_context=None, details=None):
        track(name, evaluation_context, details)
        user = evaluation_context.targeting_key if evaluation_context else None
        if user:
            client.conversion(user, name, value=details.value if details else None)

    provider.track = track_both
    return provider
