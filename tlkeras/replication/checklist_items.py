"""The items of reporting guidelines in our words, and the topics of `checklist_answers` that belong to each."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Item:
    """One item of a checklist.

    Attributes:
        number: as published.
        section: the part of a paper that it belongs to.
        asks: what it asks for.
        topics: of `checklist_answers.TOPICS`, what a run says to it; none leaves it to the author.
    """

    number: str
    section: str
    asks: str
    topics: tuple[str, ...]


@dataclass(frozen=True)
class Checklist:
    """A reporting guideline.

    Attributes:
        title: its name.
        source: where it was published.
        items: in their order.
    """

    title: str
    source: str
    items: tuple[Item, ...]


# A line each: number | what it asks | topics.
_CLAIM = """
# Title and abstract
1 | Say in the title or abstract that the study is one of AI, and of which kind | method
2 | Abstract: design, population, parts, statistics, findings, conclusion, what is public |
# Introduction
3 | Present practice, earlier work, why the study is made, where the AI would be used |
4 | Question, aims, and the hypothesis set up beforehand | question
# Methods: study design
5 | Prospective or retrospective |
6 | Kind of study, what is predicted, for which clinical purpose | classes
# Methods: data
7 | Every data set, with where it is had and how well it fits the population meant | source
8 | Who was eligible, found where and when, and drawn how: all in turn, at random, as available | selection
9 | All that is done to an image before the network sees it, so that others can repeat it | preprocessing
10 | Crops, slices or regions taken from the images, by which tool or person |
11 | How identities of patients were removed, and under which rules |
12 | What was done about missing values, and which bias that may bring | unreadable
13 | Scanners and settings, or their range |
# Methods: reference standard
14 | How the labels were made, so that others can make them again |
15 | Why this standard and no other; its errors and biases |
16 | Who labelled: how many, how skilled, how instructed; or the source that says so |
17 | How the test images in particular were labelled: procedure, software |
18 | How far annotators agree with each other and with themselves, and how disagreement was settled |
# Methods: parts of the data
19 | How images came into training, validation and test part, in which shares, and why | partition, counts
20 | The unit that never lies in two parts: patient, study, image | disjoint
# Methods: test data
21 | How many test images were meant to be there, and by which calculation | test_counts
# Methods: model
22 | The network: inputs, layers, outputs | model, output
23 | Libraries with their versions; the machine, where speed matters | software
24 | What the weights were at the start, part by part | start
# Methods: training
25 | Augmentation, loss, optimizer, rates, stops, frozen layers, search of settings | training, imbalance, augmentation
26 | By which rule and figure the one network was chosen that went to the test images | choice
27 | Networks that are combined: each of them, and how | ensembling
# Methods: evaluation
28 | Which figures, why they suit the clinical question, and which earlier models are compared | metrics
29 | How intervals and tests are made, with which software | uncertainty
30 | How results change with what may change in use | robustness
31 | How answers are explained, and how it was checked that the explanations hold | explained
32 | Test images of the same source: how they differ from training's, whether results agree | internal
33 | Test images of another source; where there are none, why |
34 | A clinical trial's registration |
# Results: data
35 | How many were kept and left out, and for which reason, as a flow diagram | counts
36 | Age, sex, disease and the like in every part | characteristics
# Results: performance
37 | Performance in every part and subgroup, with its uncertainty | performance, fairness
38 | Figures with intervals, ROC curves, calibration, figures that class shares do not flatter | performance, curves
39 | The errors: which, and what they would mean for a patient | failures
# Discussion
40 | Limits: methods, data, bias, uncertainty, how far it holds elsewhere | deviations, few_groups
41 | What it would change in practice, and what stands in the way |
# Other information
42 | Where the whole protocol or more details are found | code
43 | Where code, trained network and data are had, on which terms | code, availability
44 | Who paid or helped, and what part they had |
"""
_TRIPOD_AI = """
# Title and abstract
1 | The title tells whether a model is developed or evaluated, for whom, and what it predicts | method, classes
2 | The abstract follows the list TRIPOD+AI for Abstracts |
# Introduction
3a | The setting, diagnosis or prognosis, why a model is needed, which there are |
3b | For whom the model is, where in the care of patients, and who would use it |
3c | Inequalities in health already known among the groups concerned |
4 | Aims; whether a model is developed, evaluated, or both | question
# Methods: data and participants
5a | Where the data of development and evaluation come from, why these, how representative | source
5b | From when to when participants were recruited and followed |
6a | Kind of care, number of centres, and where they are |
6b | Who could take part and who could not | selection
6c | Treatments, and how they were taken into account |
# Methods: preparation of the data
7 | Cleaning, preprocessing and checks, and whether they were alike for all groups of people | preprocessing, disjoint
# Methods: outcome and predictors
8a | What is predicted, when and how it was determined, why it, and whether alike for all groups | classes
8b | Who judged the outcome, where that takes judgement |
8c | How those who judged it were blinded |
9a | How candidate predictors were chosen beforehand |
9b | What each predictor is, how and when it was measured | inputs
9c | Who measured predictors, where that takes judgement |
# Methods: sample size and missing data
10 | How the numbers of development and of evaluation came about, and why they suffice | counts
11 | What was done about missing values, and why data were left out | unreadable
# Methods: analysis
12a | What each part of the data was used for | partition
12b | How predictors went into the model: scaling, transformations | preprocessing
12c | Kind of model, every step of building it, internal validation | model, start, training, choice
12d | Whether and how differences between clusters, such as hospitals, were handled |
12e | Figures and plots of performance, with reasons, and how models are compared | metrics, curves, uncertainty
12f | Whether the model was recalibrated or updated after evaluation | recalibrated
12g | How predictions were made in the evaluation: code, saved model | code
13 | Unequal classes: whether and how they were corrected, and recalibration afterwards | imbalance, recalibrated
14 | What was done for fairness between groups, and why | fairness
15 | What the model answers, and how cut-offs were set | output
16 | How the data of development and of evaluation differ | test_counts, internal
17 | Which ethics committee, which consent |
# Open science
18a | Who paid, and what part they had |
18b | Conflicts of interest of every author |
18c | Where the protocol is found, or that there was none |
18d | Where the study is registered, or that it is not |
18e | Whether and where the data are had | source
18f | Whether and where the code is had | code
# Patients and public
19 | How patients or the public took part, or that they did not |
# Results
20a | Flow of participants, with and without the outcome, as a diagram | counts
20b | Characteristics, in all and by source | characteristics
20c | Evaluation compared with development: predictors, people, outcome | shift
21 | Participants and outcomes in every analysis | counts
22 | The whole model, so that others can predict with it and test it | code, availability
23a | Performance with intervals, of important subgroups too | performance, fairness
23b | How performance differs between clusters |
24 | The updated model, and how it does |
# Discussion
25 | What the results mean, beside the aims and earlier studies, fairness included |
26 | Limits: sample, size, overfitting, missing data; bias and use elsewhere | deviations, few_groups
27a | What shall happen in use when an input is poor or missing |
27b | What users have to do, and to know for it |
27c | Research that comes next, and where else the model may apply |
"""


def _items(table: str) -> tuple[Item, ...]:
    section, items = "", []
    for line in table.strip().splitlines():
        if line.startswith("# "):
            section = line.removeprefix("# ")
        else:
            number, asks, topics = (field.strip() for field in line.split("|"))
            items.append(Item(number, section, asks, tuple(filter(None, topics.split(", ")))))
    return tuple(items)


CHECKLISTS = {
    "claim_2024": Checklist(
        "CLAIM 2024",
        "Tejani et al., Checklist for Artificial Intelligence in Medical Imaging (CLAIM): 2024 Update, Radiology: "
        "Artificial Intelligence 6(4):e240300, 2024, doi:10.1148/ryai.240300.",
        _items(_CLAIM),
    ),
    "tripod_ai": Checklist(
        "TRIPOD+AI",
        "Collins et al., TRIPOD+AI statement: updated guidance for reporting clinical prediction models that use "
        "regression or machine learning methods, BMJ 385:e078378, 2024, doi:10.1136/bmj-2023-078378.",
        _items(_TRIPOD_AI),
    ),
}
