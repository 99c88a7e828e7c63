"""The demo pipeline's parts: Stable Diffusion's classes at toy sizes."""

from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel

from auditor.demo.digits import IMAGE_SIZE
from auditor.demo.vocabulary import MAX_TOKENS

LATENT_SIZE = 8
TEXT_WIDTH = 32


def new_autoencoder() -> AutoencoderKL:
    """An untrained autoencoder from 32x32 pixels to 4 channels of 8x8."""
    return AutoencoderKL(
        block_out_channels=(16, 24, 32),
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=8,
        sample_size=IMAGE_SIZE,
        mid_block_add_attention=False,
    )


def new_text_encoder(vocabulary_size: int) -> CLIPTextModel:
    """A random one-layer text encoder; it stays random, so it can remember no caption."""
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=vocabulary_size,
            hidden_size=TEXT_WIDTH,
            intermediate_size=2 * TEXT_WIDTH,
            projection_dim=TEXT_WIDTH,
            num_hidden_layers=1,
            num_attention_heads=4,
            max_position_embeddings=MAX_TOKENS,
            bos_token_id=vocabulary_size - 2,
            eos_token_id=vocabulary_size - 1,
            pad_token_id=vocabulary_size - 1,
        )
    )


def new_unet() -> UNet2DConditionModel:
    """An untrained noise predictor with cross attention at its lower resolution."""
    return UNet2DConditionModel(
        sample_size=LATENT_SIZE,
        in_channels=4,
        out_channels=4,
        block_out_channels=(32, 48),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        layers_per_block=1,
        cross_attention_dim=TEXT_WIDTH,
        attention_head_dim=4,
        norm_num_groups=8,
    )


def new_scheduler() -> DDIMScheduler:
    """Stable Diffusion's noise schedule, sampled deterministically."""
    return DDIMScheduler(
        num_train_timesteps=1000,
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
    )
