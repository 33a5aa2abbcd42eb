"""Pictures and animations of forecasts and of the latent space."""
