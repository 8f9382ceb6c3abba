"""The variants of the VAE: the settings of each, and its names in the literature.

The same rows as the table in `docs/variants.md`, which an installed package does not have.
"""

VARIANTS = {
    "model=vae": ("VAE", "vanilla VAE"),
    "objective.beta=4": ("beta-VAE",),
    "objective/schedule=linear": ("KL warm-up", "KL annealing", "warmup"),
    "objective/schedule=cyclical": ("cyclical annealing", "cyclical"),
    "objective.free_bits=0.1": ("free bits, per dimension", "free bits"),
    "objective.free_bits=2 model/prior=vamp": ("free bits, per layer",),
    "objective=capacity": ("beta-VAE with a controlled capacity", "capacity VAE", "CCI-VAE"),
    "objective=importance_weighted objective.num_samples=50": ("IWAE",),
    "objective=importance_weighted objective.num_samples=50 objective/schedule=jump": (
        "IWAE, with a tenth of the samples at first",
    ),
    "objective=importance_weighted objective.num_samples=64 objective.groups=8": ("MIWAE",),
    "objective=importance_weighted objective.num_samples=64 objective.encoder_groups=8": ("PIWAE",),
    "objective=importance_weighted objective.elbo_weight=0.05": ("CIWAE",),
    "objective=importance_weighted objective.gradient=dreg": (
        "doubly reparameterised gradients",
        "DReG",
    ),
    "objective=importance_weighted objective.gradient=sticking_the_landing": (
        "sticking the landing",
        "STL",
    ),
    "objective=total_correlation": ("beta-TCVAE", "TC-VAE"),
    "objective=mmd objective.rate_weight=0.5": ("InfoVAE", "MMD-VAE"),
    "objective=mmd": ("Wasserstein autoencoder", "WAE", "WAE-MMD"),
    "objective=moment_matching": ("DIP-VAE I", "DIP-VAE"),
    "objective=moment_matching objective.covariance_of=latents": ("DIP-VAE II",),
    "objective=geco": ("GECO",),
    "objective=autoencoder model/posterior=deterministic": (
        "regularised autoencoder",
        "RAE",
        "RAE-GP",
    ),
    "objective=autoencoder model/posterior=deterministic "
    "objective.decoder_penalty=weights objective.decoder_weight=1e-5": ("RAE-L2",),
    "objective=autoencoder model/posterior=deterministic "
    "objective.decoder_penalty=none objective.latent_weight=0": ("autoencoder", "AE"),
    "model/prior=mixture": ("mixture of Gaussians prior", "GMVAE"),
    "model/prior=vamp": ("VampPrior", "VampPrior VAE", "VampVAE"),
    "model/prior=flow": ("flow prior",),
    "model/posterior=full_normal": ("full covariance",),
    "model/posterior=flow": ("inverse autoregressive flow", "IAF"),
    "model/posterior=flow model.posterior.passes=2": ("affine couplings", "RealNVP"),
    "model/posterior=von_mises_fisher model/prior=uniform_sphere": (
        "hyperspherical VAE",
        "S-VAE",
        "vMF",
    ),
    "model/posterior=relaxed_categorical model/prior=uniform_categorical model.latent_dim=200": (
        "Gumbel-softmax VAE",
        "Gumbel-softmax",
        "Gumbel",
        "Concrete",
        "Concrete VAE",
    ),
    "model/likelihood=normal": ("squared error",),
    "model/likelihood=normal_learned": ("sigma-VAE",),
    "model/likelihood=normal_learned model.likelihood.scale=optimal": ("optimal sigma-VAE",),
    "model/likelihood=laplace": ("absolute error",),
    "model/likelihood=continuous_bernoulli": ("continuous Bernoulli VAE", "continuous Bernoulli"),
    "model/likelihood=discretized_logistic": ("discretised logistic",),
    "model/likelihood=categorical": ("256 grey values",),
    "model=conditional": ("conditional VAE", "CVAE"),
    "model=hierarchical model.inference=bottom_up model.decoder_sees=lowest": ("two-layer VAE",),
    "model=hierarchical": ("HVAE", "hierarchical VAE"),
    "model=hierarchical model.inference=ladder model.decoder_sees=lowest "
    "model.encoder.batch_norm=true model.inner.batch_norm=true model.decoder.batch_norm=true": (
        "ladder VAE",
        "LVAE",
        "ladder",
    ),
    "model=hierarchical model/prior=vamp": ("HVAE with VampPrior",),
    "model=vector_quantized": ("VQ-VAE, and a prior over its codes", "VQ-VAE"),
    "model.encoder.activation=gated model.decoder.activation=gated": ("gated dense layers",),
    "model.encoder.batch_norm=true model.decoder.batch_norm=true": (
        "batch normalisation",
        "batch norm",
    ),
    "model/encoder=conv model/decoder=conv": ("convolutions", "conv VAE"),
    "model/encoder=resnet model/decoder=resnet": ("residual networks", "ResNet"),
}
