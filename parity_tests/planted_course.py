"""Planted bugs of the course's own vocabulary, `scratch.course`."""

from __future__ import annotations

from functools import partial

from parity_tests.planting import PlantedBug

_deep = partial(PlantedBug, module="scratch.course.deep", concept="course_deep")
_layers = partial(PlantedBug, module="scratch.course._layers")
_planar = partial(PlantedBug, module="scratch.course.planar", concept="course_planar")
_regularization = partial(
    PlantedBug, module="scratch.course.regularization", concept="course_regularization"
)
_optimization = partial(
    PlantedBug, module="scratch.course.optimization", concept="course_optimization"
)
_checking = partial(
    PlantedBug, module="scratch.course.gradient_checking", concept="course_gradient_checking"
)

COURSE_BUGS = (
    _deep(
        name="sigmoid-in-every-layer-on-the-way-back",
        old='"relu" if l < len(caches) else "sigmoid"',
        new='"sigmoid"',
        seen="Kulbear/deep-learning-coursera pull request 42",
    ),
    _layers(
        name="dW-doubled",
        concept="course_deep",
        old='pulled["W"] / m',
        new='2 * pulled["W"] / m',
        seen="bighuang624/Andrew-Ng-Deep-Learning-notes issue 10: the assignment's own error",
    ),
    _layers(
        name="db-times-4",
        concept="course_gradient_checking",
        old='pulled["b"] / m',
        new='4 * pulled["b"] / m',
        seen="bighuang624/Andrew-Ng-Deep-Learning-notes issue 10: the assignment's other error",
    ),
    _layers(
        name="dropout-of-the-course-without-its-mask-on-the-way-back",
        concept="course_regularization",
        old="below.D / keep_prob",
        new="np.full_like(dA, 1 / keep_prob)",
        seen="ddbourgin/numpy-ml issue 94: divided by the probability, not masked",
    ),
    _layers(
        name="global-generator-seeded",
        concept="course_planar",
        old="    return np.random.RandomState(seed)\n",
        new="    np.random.seed(seed)\n    return np.random\n",
        seen="Qiskit/qiskit issue 2850; glm-tools/pyglmnet issue 160",
    ),
    _planar(
        name="planar-gradients-without-1/m",
        old="divisor=X.shape[1])",
        new="divisor=1)",
        seen="eriklindernoren/ML-From-Scratch pull request 126",
    ),
    _planar(
        name="planar-tanh-derivative-from-Z",
        old='activations.TanhCache(cache["A1"])',
        new='activations.TanhCache(cache.get("Z1", cache["A1"]))',
        seen="lazyprogrammer/facial-expression-recognition issue 2: 1 - z^2 of the input, proposed",
    ),
    _regularization(
        name="penalty-of-the-course-without-1/m",
        old="(pack(parameters), lambd, A3.shape[1])",
        new="(pack(parameters), lambd, 1)",
        seen="ageron/handson-ml3 issue 118",
    ),
    PlantedBug(
        name="he-of-the-course-without-its-2",
        module="scratch.course.initialization",
        concept="course_initialization",
        old="unchecked(initializers.he)",
        new="unchecked(initializers.xavier)",
        seen="LazaroHurtado/micrograd-rs pull request 10",
    ),
    _optimization(
        name="adam-of-the-course-a-step-ahead",
        old="np.array(t - 1)",
        new="np.array(t)",
        seen="clab/dynet issue 77: t runs ahead of the steps",
    ),
    _optimization(
        name="decay-of-the-course-a-step-ahead",
        old="schedule(iteration)",
        new="schedule(iteration + 1)",
        seen="Abe404/segmentation_of_roots_in_soil_with_unet pull request 4",
    ),
    _checking(
        name="differences-of-the-course-not-relative",
        old="return _relative_error(approximation.theta, gradient)",
        new="return float(np.linalg.norm(approximation.theta - gradient))",
        seen="scipy/scipy issue 7766",
    ),
)
