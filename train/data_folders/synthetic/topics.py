"""Topics of planted queries: subjects and synonyms by knowledge domain, passages, and remarks on difficulty.

The words are our own. Blanks: {topic} and {second} are subjects of one domain.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Domain:
    """Subjects of a knowledge domain, and other names that annotators give it."""

    topics: tuple[str, ...]
    synonyms: tuple[str, ...]


def _list(text: str) -> tuple[str, ...]:
    return tuple(" ".join(part.split()) for part in text.split(","))


DOMAINS = {
    "Law": Domain(
        _list("""the statute of limitations, a breach of contract, negligence in tort law, the burden of proof,
            an injunction against a publisher, the right to remain silent, a disputed will, trademark infringement,
            an appeal to the supreme court, a power of attorney, judicial review, the liability of a landlord,
            a non-compete clause, double jeopardy, an easement across a field, a plea bargain"""),
        ("Legal Studies", "Law and Legislation"),
    ),
    "Medicine": Domain(
        _list("""the treatment of pneumonia, type 2 diabetes, a fractured femur, high blood pressure,
            the side effects of statins, an allergic reaction to penicillin, the symptoms of a stroke,
            an inflamed appendix, vaccination against measles, chronic migraine, a heart murmur,
            the diagnosis of anaemia, a dose of insulin, kidney failure, an asthma attack, a torn ligament"""),
        ("Clinical Medicine", "Medical Science"),
    ),
    "Finance": Domain(
        _list("""compound interest, a bond yield, the balance sheet of a bakery, a hostile takeover,
            portfolio diversification, the price of a call option, a mortgage with a variable rate, short selling,
            quarterly dividends, a venture capital round, currency hedging, the discounted cash flow of a factory,
            an overdrawn bank account, an index fund, bankruptcy protection, insider trading"""),
        ("Financial Markets", "Corporate Finance"),
    ),
    "Physics": Domain(
        _list("""the momentum of two colliding carts, a falling pendulum, the refraction of light in glass,
            the entropy of an ideal gas, a charged particle in a magnetic field, the uncertainty principle,
            the friction of a sliding block, standing waves on a string, radioactive decay, a superconducting ring,
            the voltage across a resistor, the moment of inertia of a disc, blackbody radiation, a photon in a cavity,
            the buoyancy of a barge, the half-life of an isotope"""),
        ("Classical Physics", "Physical Sciences"),
    ),
    "Chemistry": Domain(
        _list("""the pH of a buffer solution, a redox titration, the boiling point of ethanol, a covalent bond,
            the oxidation state of manganese, a catalytic converter, the synthesis of aspirin, an exothermic reaction,
            the solubility of silver chloride, an electron shell, the polymerisation of ethylene, a noble gas,
            the crystallisation of salt, a carboxylic acid, the equilibrium constant of a reaction, a benzene ring"""),
        ("General Chemistry", "Chemical Science"),
    ),
    "Ecology": Domain(
        _list("""the food web of a mangrove forest, an invasive species of carp, pollination by bumblebees,
            the carrying capacity of a savanna, coral bleaching, the migration of wildebeest, a keystone predator,
            the succession after a wildfire, symbiosis between fungi and roots, habitat fragmentation, nesting storks,
            the reintroduction of wolves, a peat bog, plankton blooms, a vernal pool, biodiversity in a hedgerow"""),
        ("Ecosystem Ecology", "Ecology and Wildlife"),
    ),
    "History": Domain(
        _list("""the fall of Constantinople, the Congress of Vienna, the silk trade of the Han dynasty,
            the abolition of serfdom, the Meiji restoration, a medieval guild, the Punic wars, the Black Death,
            the storming of the Bastille, the Hanseatic League, the partition of Poland, a pharaoh of the New Kingdom,
            the Peloponnesian war, the Ottoman siege of Vienna, the Inca road system, the Treaty of Westphalia"""),
        ("World History", "Historical Studies"),
    ),
    "Geography": Domain(
        _list("""the delta of the Mekong, the capital of Kazakhstan, the fjords of Norway, a plateau in the Andes,
            the time zones of Siberia, the border between Chile and Argentina, the monsoon coast of Kerala,
            the islands of Micronesia, the source of the Danube, the Sahel, the population of Lagos,
            the Strait of Malacca, the longest river in Canada, the valleys of Bhutan, the Caspian basin,
            the mountain passes of the Pyrenees"""),
        ("World Geography", "Physical Geography"),
    ),
    "Computer Networks": Domain(
        _list("""packet loss on a wireless link, a routing table, the TCP handshake, a firewall rule, DNS caching,
            a load balancer, network address translation, the latency of a satellite link, a subnet mask,
            congestion control, a virtual private network, an expired TLS certificate, a proxy server,
            the bandwidth of a fibre cable, an Ethernet switch, a denial of service attack"""),
        ("Networking", "Computer Networking"),
    ),
    "Cooking": Domain(
        _list("""a sourdough starter, braised lamb shanks, a hollandaise sauce, pickled cabbage, the perfect risotto,
            roasted aubergine, tempering chocolate, a bone broth, homemade pasta dough, a lemon meringue pie,
            caramelised onions, a spice blend for curry, poached eggs, grilled mackerel, a vegan stew,
            knife skills for shallots"""),
        ("Culinary Arts", "Cooking and Recipes"),
    ),
    "Music": Domain(
        _list("""a fugue in D minor, the tuning of a violin, a jazz chord progression, the bridge of a pop song,
            an opera overture, syncopated drumming, a string quartet, the circle of fifths, a twelve-bar blues,
            the timbre of a clarinet, choral harmony, a Baroque suite, a sitar raga, the tempo of a waltz,
            a conductor's score, a synthesizer melody"""),
        ("Music Theory", "Musical Arts"),
    ),
    "Sports": Domain(
        _list("""the offside rule, a penalty shoot-out, a marathon training plan, the serve in tennis, a cricket over,
            the butterfly stroke, a relay handover, a basketball zone defence, the scoring of gymnastics,
            a rugby scrum, the Tour de France, a judo throw, the Olympic decathlon, a curveball, a ski jump,
            the transfer window in football"""),
        ("Athletics and Sports", "Sports and Games"),
    ),
    "Astronomy": Domain(
        _list("""the rings of Saturn, a red giant star, the expansion of the universe, a transiting exoplanet,
            the phases of Venus, a lunar eclipse, the Andromeda galaxy, a pulsar, the Oort cloud, a comet's tail,
            the mass of a black hole, the solar corona, a meteor shower, the craters of Mercury, a globular cluster,
            the redshift of a quasar"""),
        ("Astronomy and Space", "Observational Astronomy"),
    ),
    "Mathematics": Domain(
        _list("""a prime factorisation, the eigenvalues of a matrix, a convergent series, the roots of a polynomial,
            a group homomorphism, the derivative of an integral, a bijection between sets, the volume of a cone,
            modular arithmetic, a random walk on the integers, a quadratic inequality, a Hamiltonian graph,
            the binomial theorem, a differential equation, an isosceles triangle, the law of large numbers"""),
        ("Pure Mathematics", "Mathematics and Algebra"),
    ),
}  # fmt: skip

# Names too rare to be an axis.
RARE_NAMES = ("Heraldry", "Philately", "Beekeeping", "Calligraphy", "Falconry", "Origami", "Carpentry", "Puppetry")

LINKS = (
    "Relate it to {topic}.",
    "Bear in mind {topic} as well.",
    "The case also involves {topic}.",
    "Take {topic} into account.",
    "A side question concerns {topic}.",
)

PASSAGE = (
    "For a long time nobody in the town paid attention to {topic}.",
    "The committee met in spring to discuss {topic} and could not agree.",
    "An older study had treated {topic} as a mere detail, which later proved a mistake.",
    "Several witnesses described {topic} in similar terms, though none had seen it at first hand.",
    "Some held that {topic} mattered most, while others pointed to {second}.",
    "It was the curator who first noticed how {topic} and {second} depend on each other.",
    "The second chapter turns to {topic}, which the author had promised to explain.",
    "Letters from that year mention {topic} only once, and in passing.",
    "By autumn the view that {topic} explains everything had lost most of its supporters.",
    "What remains of the notes ends with a remark on {second}.",
    "Critics replied that {second} had been left out altogether.",
    "In the end the report recommends further work on {topic}.",
)

# (difficulty in logits, remarks in the query): the harder, the fewer models succeed.
DIFFICULTIES = (
    (-0.1, ("Keep it simple, this is for a child.", "This is an easy one.", "A basic answer will do.")),
    (0.8, ("", "The audience is a high school class.", "Assume no special background.")),
    (1.7, ("", "The reader is a university student.", "Go into some depth.")),
    (2.7, ("Answer at the level of a research expert.", "This is an unusually hard, advanced case.",
           "Only a leading specialist would get every subtle detail right.")),
)  # fmt: skip
