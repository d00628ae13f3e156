"""Bessel functions, their modified, scaled and spherical forms, and the Airy function Ai, by their names in `nr.special`.

The rational and Chebyshev approximations are those of Stephen Moshier's Cephes library (https://netlib.org/cephes), which PyTorch uses too.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.scipy import special

from ..dispatch import Array, op
from ..errors import AutogradError, DtypeError
from .common import cast, floating
from .special import with_derivative

__all__: list[str] = []
NAMESPACE = [
    "airy_ai", "bessel_j0", "bessel_j1", "bessel_y0", "bessel_y1", "modified_bessel_i0", "modified_bessel_i1", "modified_bessel_k0", "modified_bessel_k1",
    "scaled_modified_bessel_k0", "scaled_modified_bessel_k1", "spherical_bessel_j0",
]  # fmt: skip

# --- approximations ------------------------------------------------------------------------------------------------


def polynomial(x: Array, coefficients: tuple[float, ...]) -> Array:
    """The polynomial with these coefficients, the highest power first, by Horner's rule."""
    value = jnp.full_like(x, coefficients[0])
    for c in coefficients[1:]:
        value = value * x + cast(c, x.dtype)
    return value


def chebyshev_series(x: Array, coefficients: tuple[float, ...]) -> Array:
    """Half the sum of a Chebyshev series of ``x / 2``, the last term first, by Clenshaw's rule."""
    before = last = jnp.zeros_like(x)
    value = jnp.full_like(x, coefficients[0])
    for c in coefficients[1:]:
        before, last = last, value
        value = x * last - before + cast(c, x.dtype)
    return 0.5 * (value - before)


def _at(x: Array, where: Array, otherwise: float) -> Array:
    """`x` where the branch is taken, and elsewhere a number that does no harm to the gradient."""
    return jnp.where(where, x, cast(otherwise, x.dtype))


def without_derivative(name: str) -> Callable:
    """Make a function of several arguments raise PyTorch's error if a gradient is asked for."""

    def decorate(function: Callable) -> Callable:
        wrapped = jax.custom_jvp(function)

        @wrapped.defjvp
        def rule(primals, tangents):
            raise AutogradError(f"the derivative of nr.special.{name} is not implemented, in PyTorch neither; write x.detach()")

        return wrapped

    return decorate


def _op(function: Callable, name: str, doc: str) -> Callable:
    def bessel(input: Array) -> Array:
        x = floating(input)
        if x.dtype.kind == "c" or x.dtype.itemsize < 4:
            raise DtypeError(f'"{name}" not implemented for {x.dtype}; write x.float()')
        return function(x)

    bessel.__name__, bessel.__doc__ = name, doc + " Integers become the default dtype."
    return op(bessel, name=f"special.{name}", method=False)


# fmt: off
_AI_AN = (
    3.46538101525629032477e-01, 1.20075952739645805542e+01, 7.62796053615234516538e+01, 1.68089224934630576269e+02, 1.59756391350164413639e+02,
    7.05360906840444183113e+01, 1.40264691163389668864e+01, 9.99999999999999995305e-01,
)
_AI_AD = (
    5.67594532638770212846e-01, 1.47562562584847203173e+01, 8.45138970141474626562e+01, 1.77318088145400459522e+02, 1.64234692871529701831e+02,
    7.14778400825575695274e+01, 1.40959135607834029598e+01, 1.00000000000000000470e+00,
)
_AI_AFN = (
    -1.31696323418331795333e-01, -6.26456544431912369773e-01, -6.93158036036933542233e-01, -2.79779981545119124951e-01, -4.91900132609500318020e-02,
    -4.06265923594885404393e-03, -1.59276496239262096340e-04, -2.77649108155232920844e-06, -1.67787698489114633780e-08,
)
_AI_AFD = (
    1.33560420706553243746e+01, 3.26825032795224613948e+01, 2.67367040941499554804e+01, 9.18707402907259625840e+00, 1.47529146771666414581e+00,
    1.15687173795188044134e-01, 4.40291641615211203805e-03, 7.54720348287414296618e-05, 4.51850092970580378464e-07,
)
_AI_AGN = (
    1.97339932091685679179e-02, 3.91103029615688277255e-01, 1.06579897599595591108e+00, 9.39169229816650230044e-01, 3.51465656105547619242e-01,
    6.33888919628925490927e-02, 5.85804113048388458567e-03, 2.82851600836737019778e-04, 6.98793669997260967291e-06, 8.11789239554389293311e-08,
    3.41551784765923618484e-10,
)
_AI_AGD = (
    9.30892908077441974853e+00, 1.98352928718312140417e+01, 1.55646628932864612953e+01, 5.47686069422975497931e+00, 9.54293611618961883998e-01,
    8.64580826352392193095e-02, 4.12656523824222607191e-03, 1.01259085116509135510e-04, 1.17166733214413521882e-06, 4.91834570062930015649e-09,
)
_J0_PP = (
    7.96936729297347051624e-04, 8.28352392107440799803e-02, 1.23953371646414299388e+00, 5.44725003058768775090e+00, 8.74716500199817011941e+00,
    5.30324038235394892183e+00, 9.99999999999999997821e-01,
)
_J1_PP = (
    7.62125616208173112003e-04, 7.31397056940917570436e-02, 1.12719608129684925192e+00, 5.11207951146807644818e+00, 8.42404590141772420927e+00,
    5.21451598682361504063e+00, 1.00000000000000000254e+00,
)
_J0_PQ = (
    9.24408810558863637013e-04, 8.56288474354474431428e-02, 1.25352743901058953537e+00, 5.47097740330417105182e+00, 8.76190883237069594232e+00,
    5.30605288235394617618e+00, 1.00000000000000000218e+00,
)
_J1_PQ = (
    5.71323128072548699714e-04, 6.88455908754495404082e-02, 1.10514232634061696926e+00, 5.07386386128601488557e+00, 8.39985554327604159757e+00,
    5.20982848682361821619e+00, 9.99999999999999997461e-01,
)
_J0_QP = (
    -1.13663838898469149931e-02, -1.28252718670509318512e+00, -1.95539544257735972385e+01, -9.32060152123768231369e+01, -1.77681167980488050595e+02,
    -1.47077505154951170175e+02, -5.14105326766599330220e+01, -6.05014350600728481186e+00,
)
_J1_QP = (
    5.10862594750176621635e-02, 4.98213872951233449420e+00, 7.58238284132545283818e+01, 3.66779609360150777800e+02, 7.10856304998926107277e+02,
    5.97489612400613639965e+02, 2.11688757100572135698e+02, 2.52070205858023719784e+01,
)
_J0_QQ = (
    6.43178256118178023184e+01, 8.56430025976980587198e+02, 3.88240183605401609683e+03, 7.24046774195652478189e+03, 5.93072701187316984827e+03,
    2.06209331660327847417e+03, 2.42005740240291393179e+02,
)
_J1_QQ = (
    7.42373277035675149943e+01, 1.05644886038262816351e+03, 4.98641058337653607651e+03, 9.56231892404756170795e+03, 7.99704160447350683650e+03,
    2.82619278517639096600e+03, 3.36093607810698293419e+02,
)
_J0_RP = (
    -4.79443220978201773821e+09, 1.95617491946556577543e+12, -2.49248344360967716204e+14, 9.70862251047306323952e+15,
)
_J1_RP = (
    -8.99971225705559398224e+08, 4.52228297998194034323e+11, -7.27494245221818276015e+13, 3.68295732863852883286e+15,
)
_J0_RQ = (
    4.99563147152651017219e+02, 1.73785401676374683123e+05, 4.84409658339962045305e+07, 1.11855537045356834862e+10, 2.11277520115489217587e+12,
    3.10518229857422583814e+14, 3.18121955943204943306e+16, 1.71086294081043136091e+18,
)
_J1_RQ = (
    6.20836478118054335476e+02, 2.56987256757748830383e+05, 8.35146791431949253037e+07, 2.21511595479792499675e+10, 4.74914122079991414898e+12,
    7.84369607876235854894e+14, 8.95222336184627338078e+16, 5.32278620332680085395e+18,
)
_Y0_YP = (
    1.55924367855235737965e+04, -1.46639295903971606143e+07, 5.43526477051876500413e+09, -9.82136065717911466409e+11, 8.75906394395366999549e+13,
    -3.46628303384729719441e+15, 4.42733268572569800351e+16, -1.84950800436986690637e+16,
)
_Y1_YP = (
    1.26320474790178026440e+09, -6.47355876379160291031e+11, 1.14509511541823727583e+14, -8.12770255501325109621e+15, 2.02439475713594898196e+17,
    -7.78877196265950026825e+17,
)
_Y0_YQ = (
    1.04128353664259848412e+03, 6.26107330137134956842e+05, 2.68919633393814121987e+08, 8.64002487103935000337e+10, 2.02979612750105546709e+13,
    3.17157752842975028269e+15, 2.50596256172653059228e+17,
)
_Y1_YQ = (
    5.94301592346128195359e+02, 2.35564092943068577943e+05, 7.34811944459721705660e+07, 1.87601316108706159478e+10, 3.88231277496238566008e+12,
    6.20557727146953693363e+14, 6.87141087355300489866e+16, 3.97270608116560655612e+18,
)
_K0_A = (
    1.37446543561352307156e-16, 4.25981614279661018399e-14, 1.03496952576338420167e-11, 1.90451637722020886025e-09, 2.53479107902614945675e-07,
    2.28621210311945178607e-05, 1.26461541144692592338e-03, 3.59799365153615016266e-02, 3.44289899924628486886e-01, -5.35327393233902768720e-01,
)
_K1_A = (
    -7.02386347938628759343e-18, -2.42744985051936593393e-15, -6.66690169419932900609e-13, -1.41148839263352776110e-10, -2.21338763073472585583e-08,
    -2.43340614156596823496e-06, -1.73028895751305206302e-04, -6.97572385963986435018e-03, -1.22611180822657148235e-01, -3.53155960776544875667e-01,
    1.52530022733894777053e+00,
)
_K0_B = (
    5.30043377268626276149e-18, -1.64758043015242134646e-17, 5.21039150503902756861e-17, -1.67823109680541210385e-16, 5.51205597852431940784e-16,
    -1.84859337734377901440e-15, 6.34007647740507060557e-15, -2.22751332699166985548e-14, 8.03289077536357521100e-14, -2.98009692317273043925e-13,
    1.14034058820847496303e-12, -4.51459788337394416547e-12, 1.85594911495471785253e-11, -7.95748924447710747776e-11, 3.57739728140030116597e-10,
    -1.69753450938905987466e-09, 8.57403401741422608519e-09, -4.66048989768794782956e-08, 2.76681363944501510342e-07, -1.83175552271911948767e-06,
    1.39498137188764993662e-05, -1.28495495816278026384e-04, 1.56988388573005337491e-03, -3.14481013119645005427e-02, 2.44030308206595545468e+00,
)
_K1_B = (
    -5.75674448366501715755e-18, 1.79405087314755922667e-17, -5.68946255844285935196e-17, 1.83809354436663880070e-16, -6.05704724837331885336e-16,
    2.03870316562433424052e-15, -7.01983709041831346144e-15, 2.47715442448130437068e-14, -8.97670518232499435011e-14, 3.34841966607842919884e-13,
    -1.28917396095102890680e-12, 5.13963967348173025100e-12, -2.12996783842756842877e-11, 9.21831518760500529508e-11, -4.19035475934189648750e-10,
    2.01504975519703286596e-09, -1.03457624656780970260e-08, 5.74108412545004946722e-08, -3.50196060308781257119e-07, 2.40648494783721712015e-06,
    -1.93619797416608296024e-05, 1.95215518471351631108e-04, -2.85781685962277938680e-03, 1.03923736576817238437e-01, 2.72062619048444266945e+00,
)
# fmt: on

# --- of the first and second kind ----------------------------------------------------------------------------------

_TWO_OVER_PI = 0.636619772367581343075535053490057448
_ROOT_TWO_OVER_PI = 0.797884560802865355879892119868763737


def _asymptotic(x: Array, phase: float, tables: tuple, second_kind: bool) -> Array:
    """Hankel's expansion for large `x`."""
    pp, pq, qp, qq = tables
    z = (5 / x) ** 2
    p, q = polynomial(z, pp) / polynomial(z, pq), 5 / x * polynomial(z, qp) / polynomial(z, qq)
    angle = x - cast(phase, x.dtype)
    wave = p * jnp.sin(angle) + q * jnp.cos(angle) if second_kind else p * jnp.cos(angle) - q * jnp.sin(angle)
    return wave * cast(_ROOT_TWO_OVER_PI, x.dtype) / jnp.sqrt(x)


_PI_4, _3_PI_4 = 0.785398163397448309615660845819875721, 2.356194490192344928846982537459627163


def _derivative_of_bessel_j0(x: Array, value: Array) -> Array:
    return -_bessel_j1(x)


@with_derivative(_derivative_of_bessel_j0)
def _bessel_j0(x: Array) -> Array:
    x = jnp.abs(x)
    near = x <= 5
    z = _at(x, near, 1.0) ** 2
    small = (z - 5.78318596294678452118e00) * (z - 3.04712623436620863991e01) * polynomial(z, _J0_RP) / polynomial(z, _J0_RQ)
    large = _asymptotic(_at(x, ~near, 6.0), _PI_4, (_J0_PP, _J0_PQ, _J0_QP, _J0_QQ), False)
    return jnp.where(x < 1e-5, 1 - x * x / 4, jnp.where(near, small, large))


@with_derivative(lambda x, value: _bessel_j0(x) - jnp.where(x == 0, 0.5, value / jnp.where(x == 0, 1, x)))
def _bessel_j1(x: Array) -> Array:
    size = jnp.abs(x)
    near = size <= 5
    s = _at(size, near, 1.0)
    z = s * s
    small = polynomial(z, _J1_RP) / polynomial(z, _J1_RQ) * s * (z - 1.46819706421238932572e01) * (z - 4.92184563216946036703e01)
    large = _asymptotic(_at(size, ~near, 6.0), _3_PI_4, (_J1_PP, _J1_PQ, _J1_QP, _J1_QQ), False)
    return jnp.where(x < 0, -1, 1).astype(x.dtype) * jnp.where(near, small, large)


def _at_and_below_zero(x: Array, value: Array, at_zero: float) -> Array:
    return jnp.where(x == 0, cast(at_zero, x.dtype), jnp.where(x < 0, cast(jnp.nan, x.dtype), value))


def _derivative_of_bessel_y0(x: Array, value: Array) -> Array:
    return -_bessel_y1(x)


@with_derivative(_derivative_of_bessel_y0)
def _bessel_y0(x: Array) -> Array:
    near = x <= 5
    s = _at(x, near & (x > 0), 1.0)
    z = s * s
    small = polynomial(z, _Y0_YP) / polynomial(z, _Y0_YQ) + cast(_TWO_OVER_PI, x.dtype) * jnp.log(s) * _bessel_j0(s)
    large = _asymptotic(_at(x, ~near, 6.0), _PI_4, (_J0_PP, _J0_PQ, _J0_QP, _J0_QQ), True)
    return _at_and_below_zero(x, jnp.where(near, small, large), -jnp.inf)


@with_derivative(lambda x, value: _bessel_y0(x) - value / x)
def _bessel_y1(x: Array) -> Array:
    near = x <= 5
    s = _at(x, near & (x > 0), 1.0)
    z = s * s
    small = s * (polynomial(z, _Y1_YP) / polynomial(z, _Y1_YQ)) + cast(_TWO_OVER_PI, x.dtype) * (_bessel_j1(s) * jnp.log(s) - 1 / s)
    large = _asymptotic(_at(x, ~near, 6.0), _3_PI_4, (_J1_PP, _J1_PQ, _J1_QP, _J1_QQ), True)
    return _at_and_below_zero(x, jnp.where(near, small, large), -jnp.inf)


@with_derivative(lambda x, value: jnp.where(jnp.abs(x) < 1e-2, -x / 3, (jnp.cos(x) - value) / jnp.where(x == 0, 1, x)))
def _spherical_bessel_j0(x: Array) -> Array:
    near = jnp.abs(x) < 0.5
    z = _at(x, near, 0.0) ** 2
    series = polynomial(z, (1 / 6227020800, -1 / 39916800, 1 / 362880, -1 / 5040, 1 / 120, -1 / 6, 1.0))
    large = _at(x, ~near & jnp.isfinite(x), 1.0)
    return jnp.where(jnp.isinf(x), cast(0, x.dtype), jnp.where(near, series, jnp.where(jnp.isnan(x), x, jnp.sin(large) / large)))


bessel_j0 = _op(_bessel_j0, "bessel_j0", "The Bessel function of the first kind of order 0.")
bessel_j1 = _op(_bessel_j1, "bessel_j1", "The Bessel function of the first kind of order 1.")
bessel_y0 = _op(_bessel_y0, "bessel_y0", "The Bessel function of the second kind of order 0: ``-inf`` at 0, NaN below.")
bessel_y1 = _op(_bessel_y1, "bessel_y1", "The Bessel function of the second kind of order 1: ``-inf`` at 0, NaN below.")
spherical_bessel_j0 = _op(_spherical_bessel_j0, "spherical_bessel_j0", "The spherical Bessel function of the first kind of order 0, ``sin(x) / x``.")

# --- modified ------------------------------------------------------------------------------------------------------


def _modified_k(x: Array, order: int, scaled: bool) -> Array:
    near = x <= 2
    s = _at(x, near & (x > 0), 1.0)
    if order == 0:
        small = chebyshev_series(s * s - 2, _K0_A) - jnp.log(0.5 * s) * special.i0(s)
    else:
        small = jnp.log(0.5 * s) * special.i1(s) + chebyshev_series(s * s - 2, _K1_A) / s
    small = small * jnp.exp(s) if scaled else small
    far = _at(x, ~near, 3.0)
    large = chebyshev_series(8 / far - 2, _K1_B if order else _K0_B) / jnp.sqrt(far)
    large = large if scaled else large * jnp.exp(-far)
    return _at_and_below_zero(x, jnp.where(near, small, large), jnp.inf)


def _derivative_of_modified_k0(x: Array, value: Array) -> Array:
    return -_modified_k1(x)


@with_derivative(_derivative_of_modified_k0)
def _modified_k0(x: Array) -> Array:
    return _modified_k(x, 0, False)


@with_derivative(lambda x, value: -_modified_k0(x) - value / x)
def _modified_k1(x: Array) -> Array:
    return _modified_k(x, 1, False)


def _derivative_of_scaled_k0(x: Array, value: Array) -> Array:
    return value - _scaled_k1(x)


@with_derivative(_derivative_of_scaled_k0)
def _scaled_k0(x: Array) -> Array:
    return _modified_k(x, 0, True)


@with_derivative(lambda x, value: value - _scaled_k0(x) - value / x)
def _scaled_k1(x: Array) -> Array:
    return _modified_k(x, 1, True)


modified_bessel_i0 = _op(special.i0, "modified_bessel_i0", "The modified Bessel function of the first kind of order 0.")
modified_bessel_i1 = _op(special.i1, "modified_bessel_i1", "The modified Bessel function of the first kind of order 1.")
modified_bessel_k0 = _op(_modified_k0, "modified_bessel_k0", "The modified Bessel function of the second kind of order 0: infinite at 0, NaN below.")
modified_bessel_k1 = _op(_modified_k1, "modified_bessel_k1", "The modified Bessel function of the second kind of order 1: infinite at 0, NaN below.")
scaled_modified_bessel_k0 = _op(_scaled_k0, "scaled_modified_bessel_k0", "``exp(x)`` times `modified_bessel_k0`.")
scaled_modified_bessel_k1 = _op(_scaled_k1, "scaled_modified_bessel_k1", "``exp(x)`` times `modified_bessel_k1`.")

# --- Airy ----------------------------------------------------------------------------------------------------------

_AIRY_SERIES_TERMS = 16  # enough for float64 where the series is used, below 2.09


@without_derivative("airy_ai")
def _airy_ai(x: Array) -> Array:
    one = jnp.ones_like(x)
    left, right = x < -2.09, x >= 2.09

    s = _at(-x, left, 3.0)
    root = jnp.sqrt(s)
    t = 2 * s * root / 3
    z = 1 / t
    angle = t + cast(0.25 * jnp.pi, x.dtype)
    even = 1 + z * z * polynomial(z * z, _AI_AFN) / polynomial(z * z, _AI_AFD)
    odd = z * polynomial(z * z, _AI_AGN) / polynomial(z * z, _AI_AGD)
    oscillating = 5.64189583547756286948e-01 / jnp.sqrt(root) * (jnp.sin(angle) * even - jnp.cos(angle) * odd)

    s = _at(x, right, 3.0)
    root = jnp.sqrt(s)
    t = 2 * s * root / 3
    decaying = 5.64189583547756286948e-01 * polynomial(1 / t, _AI_AN) / polynomial(1 / t, _AI_AD) / (2 * jnp.sqrt(root) * jnp.exp(t))

    s = _at(x, ~left & ~right, 0.0)
    cube = s * s * s
    m, n, f, g = one, s, one, s
    for k in range(1, _AIRY_SERIES_TERMS):
        m, n = m * cube / ((3 * k - 1) * (3 * k)), n * cube / ((3 * k) * (3 * k + 1))
        f, g = f + m, g + n
    series = 0.355028053887817239260 * f - 0.258819403792806798405 * g

    value = jnp.where(left, oscillating, jnp.where(right, jnp.where(x > 103.892, 0, decaying), series))
    return jnp.where(jnp.isfinite(x), value, cast(jnp.nan, x.dtype))


airy_ai = _op(_airy_ai, "airy_ai", "The Airy function Ai.")
