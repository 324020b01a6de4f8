// OpenFeature with abstream: flags that are experiments give exposures, tracked events give conversions.
//
//   const client = new Client("https://events.example.com", "KEY");
//   await OpenFeature.setProviderAndWait(tracked(yourProvider, client));
//   OpenFeature.addHooks(exposureHook(client, { experiments: ["checkout"] }));
//
//   const flags = OpenFeature.getClient();
//   const user = { targetingKey: "user-1" };
//   await flags.getStringValue("checkout", "control", user);
//   flags.track("purchase", user, { value: 19.9 });
//
// The flag's key is the experiment, its variant the variation, the targeting key the user. Written for
// @openfeature/server-sdk 1.23.

// `experiments`: keys of the flags that are experiments. Without it every flag is sent, and those that are no experiments
// come back as `unknown_experiment` to the client's `onError`.
export function exposureHook(client, { experiments } = {}) {
  const wanted = experiments && new Set(experiments);
  return {
    after({ context }, { flagKey, variant }) {
      if ((!wanted || wanted.has(flagKey)) && context.targetingKey && variant) {
        client.exposure(flagKey, context.targetingKey, variant);
      }
    },
  };
}

// The provider, whose tracked events become conversions as well. Events without a targeting key are nobody's.
export function tracked(provider, client) {
  const track = provider.track?.bind(provider);
  provider.track = (name, context, details) => {
    track?.(name, context, details);
    if (context.targetingKey) client.conversion(context.targetingKey, name, { value: details?.value });
  };
  return provider;
}
