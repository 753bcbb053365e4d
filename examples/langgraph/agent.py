"""A shopping agent of LangGraph, whose purchases a person confirms and Aegis decides.

What stands in [[…]] is for the bundled provider, which has no mind of its own: it says what the model calls. A real
model does without.
"""

from langchain.agents import create_agent
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command, interrupt

from aegis_sdk.adapters.langchain import AegisMiddleware


@tool
def search(query: str) -> dict[str, object]:
    """Search the shop."""
    return {"hits": 3, "best": f"{query} for $80"}


@tool
def buy(item: str, amount: float) -> str:
    """Buy something, once a person has said yes."""
    answer = interrupt(f"buy {item} for ${amount:.2f}?")
    return f"{item} bought" if answer == "yes" else "not bought"


agent = create_agent(
    ChatOpenAI(model="gpt-4o-mini"),  # through the gateway: OPENAI_BASE_URL
    tools=[search, buy],
    middleware=[AegisMiddleware({"search": "shop.search", "buy": "shop.buy"}, model_headers=True)],
    checkpointer=InMemorySaver(),
)


def ask(thread: str, text: str) -> None:
    """One conversation; a person says yes to whatever the agent asks."""
    config = {"configurable": {"thread_id": thread}}
    print(f"you: {text.partition(' [[')[0]}")
    state = agent.invoke({"messages": [{"role": "user", "content": text}]}, config)
    while pauses := state.get("__interrupt__"):
        print(f"agent: {pauses[0].value}")
        print("you: yes")
        state = agent.invoke(Command(resume="yes"), config)
    print(f"agent: {state['messages'][-1].content}\n")


ask(
    "shoes",
    'Find shoes and buy them. [[call search {"query": "shoes"}]] [[then buy {"item": "shoes", "amount": 80}]]',
)
ask("yacht", 'Buy a yacht. [[call buy {"item": "a yacht", "amount": 90000}]]')
ask("boots", 'Buy boots, too. [[call buy {"item": "boots", "amount": 80}]]')
